"""Ways of life: leaf categories that the same people shop in.

They are what a collaborative model can find out: none of the public data of the shop names them.
"""

LIFESTYLES: dict[str, tuple[str, ...]] = {
    "sound and screens": ("Headphones", "Speakers", "Chargers & Cables", "Monitors", "Smart Home"),
    "home cook": ("Pans & Pots", "Knives & Boards", "Oil & Spices", "Pasta & Sauces", "Tableware"),
    "gamer": ("Keyboards & Mice", "Monitors", "Headphones", "Board Games", "Breakfast & Snacks"),
    "coffee lover": ("Coffee & Tea", "Coffee Beans", "Chocolate & Sweets", "Small Appliances", "Tea"),
    "runner": ("Running Shoes", "Running Wear", "Headphones", "Breakfast & Snacks", "Yoga & Pilates"),
    "hiker": ("Hiking Wear", "Backpacks", "Tents & Sleeping", "Camp Kitchen", "Climbing"),
    "new parents": ("Baby Care", "Nursery", "Soft Toys & Dolls", "On the Move", "Kids' Clothing"),
    "playful family": ("Building & Wooden Toys", "Board Games", "Puzzles", "Kids' Clothing", "Models & Kits"),
    "dog people": ("Dog Food", "Leads & Beds", "Hiking Wear", "Tools"),
    "cat people": ("Cat Food", "Scratching & Play", "Tea", "Yarn & Sewing", "Bedding"),
    "gardener": ("Seeds & Bulbs", "Tools", "Pots & Watering", "Patio Furniture", "Wildlife"),
    "summer host": ("Grills & Fire", "Patio Furniture", "Tableware", "Speakers", "Lighting"),
    "nest builder": ("Seating", "Tables & Shelves", "Lighting", "Rugs & Curtains", "Vases & Candles"),
    "her wardrobe": ("Dresses", "Knitwear", "Women's Fashion > Shoes", "Bags", "Jewellery"),
    "his wardrobe": ("Shirts", "Trousers & Jeans", "Men's Fashion > Shoes", "Basics", "Watches & Belts"),
    "beauty fan": ("Skincare", "Make-up", "Hair", "Fragrance", "Bath & Body"),
    "office at home": ("Office Chairs", "Desk Organisation", "Notebooks & Planners", "Keyboards & Mice"),
    "maker": ("Art Supplies", "Pens & Markers", "Yarn & Sewing", "Paper & Cards", "Models & Kits"),
    "gym and pool": ("Strength Training", "Swimming", "Yoga & Pilates", "Basics", "Shaving & Beard"),
    "cyclist": ("Cycling", "Camp Kitchen", "Men's Fashion > Coats & Jackets", "Cases & Mounts"),
    "traveller": ("Luggage", "Backpacks", "Chargers & Cables", "Women's Fashion > Coats & Jackets"),
    "animal house": ("Aquarium", "Small Animals", "Cat Food", "Wildlife"),
    "musician": ("Musical Instruments", "Headphones", "Notebooks & Planners", "Coffee Beans"),
    "good pantry": ("Oil & Spices", "Pasta & Sauces", "Tea", "Breakfast & Snacks", "Storage & Baking"),
}
"""By name; leaves by the end of their path."""

FAMOUS: dict[int, str] = {1: "sound and screens", 2: "home cook"}
"""The users that the documents name are given lives in different departments."""

DAYPARTS: dict[str, tuple[float, float]] = {
    "morning": (7.5, 1.2),
    "lunch": (12.5, 1.0),
    "afternoon": (16.0, 1.5),
    "evening": (20.5, 1.4),
}
"""Habitual hour of the day (UTC) and its standard deviation in hours."""

DEVICES: tuple[str, ...] = ("mobile", "desktop", "tablet", "app")
DEVICE_SHARES: tuple[float, ...] = (0.48, 0.27, 0.08, 0.17)
