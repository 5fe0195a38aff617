"""Grocery, baby and kids, pets: what households buy again and again."""

from windowshop_client.demo.words.leaf import department, leaf

DEPARTMENTS = (
    department(
        "Guteo; Pantrella; Farmgate; Olivara; Monte Bruno; Hazelrock; Casa Cantuccia; Cru & Cacao",
        leaf(
            "Grocery > Coffee Beans",
            13,
            kinds="Espresso Beans; Filter Coffee; Ground Coffee; Decaf Beans; Coffee Capsules",
            traits="Dark-Roast; Single-Origin; Organic; Fairly-Traded; Light-Roast; House-Blend",
            uses="strong mornings; flat whites; slow pour-overs; the office machine",
            details="Notes of chocolate and plum.; Roasted the week it ships.; Grown above 1,600 metres.; "
            "Sweet, with little acidity.",
            consumable=True,
        ),
        leaf(
            "Grocery > Tea",
            9,
            kinds="Green Tea; Black Tea; Herbal Tea; Chai; Rooibos",
            traits="Loose-Leaf; First-Flush; Organic; Spiced; Jasmine; Ginger",
            uses="rainy afternoons; clear heads; bedtime; big pots",
            details="Whole leaves, no dust.; Picked by hand in spring.; Fragrant and gentle.; In plant-based bags.",
            consumable=True,
        ),
        leaf(
            "Grocery > Chocolate & Sweets",
            8,
            kinds="Dark Chocolate; Milk Chocolate; Truffles; Caramels; Liquorice",
            traits="Sea-Salt; Hazelnut; Orange; Bean-to-Bar; Raspberry; Vegan",
            uses="the drawer at work; after dinner; small thanks; film nights",
            details="Seventy per cent cocoa.; Melts slowly.; Made in a tiny factory.; Hard to share.",
            consumable=True,
        ),
        leaf(
            "Grocery > Pasta & Sauces",
            6,
            kinds="Spaghetti; Tomato Sauce; Pesto; Penne; Lasagne Sheets",
            traits="Bronze-Cut; Basil; Wholegrain; Slow-Cooked; Spicy; Truffle",
            uses="Tuesday suppers; hungry children; ten-minute dinners; many guests",
            details="Dried slowly for a firm bite.; Ripe tomatoes and nothing else.; An Italian grandmother approves.; "
            "Holds its sauce.",
            consumable=True,
        ),
        leaf(
            "Grocery > Oil & Spices",
            14,
            kinds="Olive Oil; Curry Powder; Smoked Paprika; Balsamic Vinegar; Peppercorns",
            traits="Extra-Virgin; Aged; Cold-Pressed; Toasted; Wild; Estate",
            uses="salads and bread; slow curries; grilled fish; cooks who taste first",
            details="Green, grassy and a little sharp.; Ground to order.; From one small estate.; "
            "Tin keeps out the light.",
            consumable=True,
        ),
        leaf(
            "Grocery > Breakfast & Snacks",
            7,
            kinds="Granola; Porridge Oats; Nut Butter; Fruit Bars; Mixed Nuts",
            traits="Crunchy; Honey; Unsweetened; Protein; Almond; Maple",
            uses="early trains; lunch boxes; after training; Sunday in bed",
            details="Baked in small trays.; No added sugar.; Roasted, then left alone.; Keeps you going until noon.",
            consumable=True,
        ),
    ),
    department(
        "Minnio; Tuttu; Bärli & Me; Pipkin; Little Harrow; Nestling; Honeywood; Petit Nuage",
        leaf(
            "Baby & Kids > Toys > Building & Wooden Toys",
            32,
            kinds="Building Blocks; Marble Run; Train Set; Stacking Tower; Shape Sorter",
            traits="Wooden; Magnetic; Rainbow; 100-Piece; Beech; Montessori",
            uses="small engineers; ages two and up; siblings; living room floors",
            details="Water-based colours, rounded edges.; Fits all common tracks.; Holds out for generations.; "
            "In a cotton bag.",
        ),
        leaf(
            "Baby & Kids > Toys > Soft Toys & Dolls",
            24,
            kinds="Teddy Bear; Rabbit; Rag Doll; Hand Puppet; Comforter",
            traits="Organic; Floppy; Knitted; Washable; Musical; Corduroy",
            uses="first friends; bedtime; long car rides; presents for newborns",
            details="Survives the washing machine.; Embroidered eyes, safe from birth.; Filled with wool.; "
            "Sized for small arms.",
        ),
        leaf(
            "Baby & Kids > Baby Care",
            15,
            kinds="Nappies; Wet Wipes; Baby Balm; Bath Foam; Nursing Pads",
            traits="Sensitive; Eco; Unscented; Overnight; Calendula; Biodegradable",
            uses="newborn skin; quiet nights; the changing bag; sore bottoms",
            details="Dry for twelve hours.; Ninety-nine per cent water.; Recommended by midwives.; "
            "No perfume, no chlorine.",
            consumable=True,
        ),
        leaf(
            "Baby & Kids > Nursery",
            89,
            kinds="Night Light; Baby Blanket; Cot Mobile; Sleeping Sack; Changing Basket",
            traits="Muslin; Felt; Soft-Glow; Quilted; Seagrass; Starry",
            uses="sleepy heads; tiny rooms; the first winter; calm evenings",
            details="Light like a candle.; Two layers of soft cotton.; Turns without batteries.; "
            "Made by a small family firm.",
        ),
        leaf(
            "Baby & Kids > Kids' Clothing",
            29,
            kinds="Romper; Rain Suit; Dungarees; Pyjamas; Winter Hat",
            traits="Organic-Cotton; Striped; Fleece-Lined; Waterproof; Corduroy; Reversible",
            uses="puddles and playgrounds; nursery days; growing fast; cold ears",
            details="Grows along for two sizes.; Poppers where you need them.; Double knees.; Dyed without poison.",
        ),
        leaf(
            "Baby & Kids > On the Move",
            179,
            kinds="Stroller; Baby Carrier; Balance Bike; Car Seat; Scooter",
            traits="Foldable; Lightweight; Ergonomic; All-Terrain; Reclining; First",
            uses="stairs and trams; newborn to toddler; forest paths; grandparents",
            details="Folds with one hand.; Grows with the child.; Wheels that steer themselves.; "
            "Tested beyond the standard.",
        ),
    ),
    department(
        "Wuffo; Pawsley; Miezel; Barkwell; Tierra Canis; Whiskerton; Finnegan & Fin; Noble Snout",
        leaf(
            "Pets > Dogs > Dog Food",
            27,
            kinds="Dry Food; Wet Food; Chew Sticks; Training Treats; Puppy Food",
            traits="Grain-Free; Salmon; Lamb; Insect-Protein; Senior; Chicken",
            uses="sensitive stomachs; small breeds; busy noses; good dogs",
            details="Cooked gently, no sugar.; Vets like the recipe.; Crunch that cleans teeth.; "
            "Resealable bag for your dog's dinner.",
            consumable=True,
        ),
        leaf(
            "Pets > Dogs > Leads & Beds",
            39,
            kinds="Dog Lead; Dog Bed; Dog Harness; Dog Coat; Fetch Toy",
            traits="Orthopaedic; Reflective; Padded; Rope; Washable; Floating",
            uses="dark walks; old bones; strong pullers; river dogs",
            details="Covers come off for washing.; Clips that hold.; Chewed and approved.; "
            "In five sizes, from dachshund to dane.",
        ),
        leaf(
            "Pets > Cats > Cat Food",
            19,
            kinds="Cat Pouches; Cat Kibble; Cat Treats; Kitten Food; Cat Soup",
            traits="Tuna; Duck; Indoor; Hairball; Rabbit; Grain-Free",
            uses="picky eaters; house cats; shiny coats; bribery",
            details="Meat first, nothing odd after.; In its own broth.; Portions without leftovers.; "
            "Cats come running.",
            consumable=True,
        ),
        leaf(
            "Pets > Cats > Scratching & Play",
            49,
            kinds="Scratching Post; Cat Tree; Feather Wand; Cat Tunnel; Catnip Toy",
            traits="Sisal; Wall-Mounted; Rustling; Corner; Solid-Wood; Silvervine",
            uses="sofas worth saving; indoor hunters; high places; rainy days",
            details="Stands firm under big jumps.; Replaceable sisal.; Good-looking enough for the living room.; "
            "Keeps two cats busy.",
        ),
        leaf(
            "Pets > Aquarium",
            35,
            kinds="Aquarium Filter; Fish Food; LED Tank Light; Water Conditioner; Aquarium Plant",
            traits="Nano; Silent; Tropical; Daylight; Natural; Energy-Saving",
            uses="first tanks; planted aquariums; shrimps; clear water",
            details="Silent enough for a bedroom.; Makes colours glow.; Easy on plants and snails.; "
            "Lasts for three months.",
        ),
        leaf(
            "Pets > Small Animals",
            23,
            kinds="Hay; Rabbit Hutch; Hamster Wheel; Guinea Pig Tunnel; Wood Bedding",
            traits="Meadow; Silent; Dust-Free; Natural; Timothy; Foldable",
            uses="rabbits and guinea pigs; night runners; happy nibbling; balconies",
            details="Cut late, full of herbs.; Turns without a sound.; Safe to gnaw.; Absorbs three times its weight.",
            consumable=True,
        ),
    ),
)
