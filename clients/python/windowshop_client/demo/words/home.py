"""Home and kitchen, furniture and decor, garden."""

from windowshop_client.demo.words.leaf import department, leaf

DEPARTMENTS = (
    department(
        "Casapo; Hearthly; Nordkroft; Lavanda Home; Pottern; Brasserie Nine; Ferrum & Fig; Okuzono",
        leaf(
            "Home & Kitchen > Cookware > Pans & Pots",
            59,
            kinds="Frying Pan; Saucepan; Casserole; Wok; Grill Pan",
            traits="Cast-Iron; Copper-Core; Non-Stick; Enamelled; Stainless; Induction",
            uses="crisp potatoes; slow Sunday stews; quick weekday suppers; big families",
            details="Heats evenly to the very edge.; From hob to oven to table.; A handle that stays cool.; "
            "Gets better with every use.",
        ),
        leaf(
            "Home & Kitchen > Cookware > Knives & Boards",
            49,
            kinds="Chef's Knife; Bread Knife; Paring Knife; Cutting Board; Knife Block",
            traits="Forged; Walnut; Damascus; Hand-Sharpened; Oak; Ceramic",
            uses="herbs cut fine; crusty loaves; ripe tomatoes; cooks with small hands",
            details="Holds its edge for months.; Balanced at the bolster.; Oiled by hand.; "
            "Sharp enough for paper-thin slices.",
        ),
        leaf(
            "Home & Kitchen > Coffee & Tea",
            44,
            kinds="French Press; Pour-Over Set; Espresso Pot; Teapot; Milk Frother",
            traits="Glass; Stainless; Double-Walled; Stovetop; Porcelain; Electric",
            uses="slow mornings; four cups at once; camping and kitchens; afternoon visits",
            details="Keeps hot for an hour.; Pours without a drip.; Comes apart for cleaning.; "
            "Brings out the finest notes.",
        ),
        leaf(
            "Home & Kitchen > Tableware",
            34,
            kinds="Dinner Plates; Cereal Bowls; Wine Glasses; Cutlery Set; Serving Platter",
            traits="Stoneware; Hand-Glazed; Crystal; Matt; Speckled; Brushed",
            uses="long tables; every day; pasta for friends; festive evenings",
            details="Safe in dishwasher and microwave.; Every piece is slightly different.; Stacks neatly.; "
            "Set of four.",
        ),
        leaf(
            "Home & Kitchen > Small Appliances",
            99,
            kinds="Blender; Toaster; Stand Mixer; Kettle; Air Fryer",
            traits="Quiet; Retro; Compact; Powerful; Two-Slice; Temperature-Controlled",
            uses="green smoothies; Sunday cakes; small kitchens; hungry mornings",
            details="Easy to clean, hard to break.; Ten speeds from gentle to fierce.; Switches itself off.; "
            "Spare parts for fifteen years.",
        ),
        leaf(
            "Home & Kitchen > Storage & Baking",
            22,
            kinds="Storage Jars; Lunch Box; Baking Tin; Mixing Bowls; Bread Bin",
            traits="Airtight; Glass; Nested; Leakproof; Springform; Enamel",
            uses="flour, rice and lentils; packed lunches; birthday cakes; leftovers",
            details="Stays fresh for weeks.; Lids that really close.; Fits the smallest cupboard.; "
            "Nothing sticks to it.",
        ),
    ),
    department(
        "Simplo; Vardag; Linnea House; Oakhaven; Tessuto; Lunaria; Bergamot & Brass; Sorrel Studio",
        leaf(
            "Furniture & Decor > Living Room > Seating",
            349,
            kinds="Armchair; Two-Seat Sofa; Pouffe; Rocking Chair; Bench",
            traits="Velvet; Linen; Oak; Boucle; Reclining; Woven",
            uses="reading corners; film evenings; hallways; small living rooms",
            details="A solid frame of certified wood.; Covers come off for washing.; Deep, soft and forgiving.; "
            "Assembled in ten minutes.",
        ),
        leaf(
            "Furniture & Decor > Living Room > Tables & Shelves",
            189,
            kinds="Coffee Table; Side Table; Bookcase; Wall Shelf; Console Table",
            traits="Walnut; Marble-Top; Floating; Nesting; Rattan; Solid-Ash",
            uses="books and lamps; narrow halls; morning coffee; collections",
            details="Rounded corners, kind to shins.; Carries more than it seems.; Oiled, not lacquered.; "
            "Every joint is made by hand.",
        ),
        leaf(
            "Furniture & Decor > Lighting",
            79,
            kinds="Floor Lamp; Table Lamp; Pendant Lamp; Reading Lamp; String Lights",
            traits="Paper; Brass; Dimmable; Arched; Opal-Glass; Rechargeable",
            uses="warm corners; the dining table; bedtime stories; balconies",
            details="A soft light without glare.; Dims at a touch.; Includes the bulb.; Cable wrapped in cotton.",
        ),
        leaf(
            "Furniture & Decor > Bedding",
            69,
            kinds="Duvet Cover; Fitted Sheet; Wool Blanket; Pillow; Bedspread",
            traits="Washed-Linen; Organic-Cotton; Percale; Quilted; Feather-Light; Flannel",
            uses="hot summer nights; cold bedrooms; side sleepers; lazy Sundays",
            details="Softer with every wash.; Woven from long-staple cotton.; Breathes and keeps warm.; "
            "Free of harmful dyes.",
        ),
        leaf(
            "Furniture & Decor > Rugs & Curtains",
            129,
            kinds="Rug; Runner; Curtains; Door Mat; Sheepskin",
            traits="Wool; Jute; Hand-Tufted; Blackout; Striped; Sheer",
            uses="bare feet; long corridors; bright bedrooms; muddy boots",
            details="Quiets the whole room.; Colours that do not fade.; Lies flat from the first day.; "
            "Woven in small workshops.",
        ),
        leaf(
            "Furniture & Decor > Vases & Candles",
            27,
            kinds="Vase; Scented Candle; Candle Holder; Photo Frame; Wall Mirror",
            traits="Ribbed; Smoked-Glass; Terracotta; Round; Hand-Blown; Brass",
            uses="tulips and branches; quiet evenings; mantelpieces; housewarming gifts",
            details="Looks good empty, too.; Burns for fifty hours.; A small thing that changes a shelf.; "
            "Each one is unique.",
        ),
    ),
    department(
        "Grünlo; Spadewell; Meadowkin; Terrafolia; Rosenhag; Gartenau; Hollyhock & Sons; Verdalia",
        leaf(
            "Garden > Seeds & Bulbs",
            7,
            kinds="Wildflower Seeds; Tomato Seeds; Tulip Bulbs; Herb Seeds; Salad Mix",
            traits="Organic; Heirloom; Bee-Friendly; Early; Balcony; Hardy",
            uses="sunny beds; window boxes; impatient gardeners; bees and butterflies",
            details="Germinates in ten days.; Enough for two square metres.; Open-pollinated and untreated.; "
            "Flowers until October.",
            consumable=True,
        ),
        leaf(
            "Garden > Tools",
            32,
            kinds="Secateurs; Garden Fork; Trowel; Pruning Saw; Weeding Hoe",
            traits="Forged; Ash-Handled; Long-Reach; Folding; Stainless; Left-Handed",
            uses="roses and hedges; heavy soil; raised beds; tired backs",
            details="Made to be handed down.; Cuts clean, heals fast.; Hangs on its own loop.; Spare blades available.",
        ),
        leaf(
            "Garden > Grills & Fire",
            159,
            kinds="Charcoal Grill; Fire Bowl; Pizza Oven; Smoker; Grill Tongs",
            traits="Portable; Cast-Iron; Kettle; Ceramic; Foldable; Enamelled",
            uses="summer evenings; six hungry friends; the beach; slow-smoked ribs",
            details="Hot in fifteen minutes.; A lid with a thermometer.; Ash falls into its own pan.; "
            "Stays outside all year.",
        ),
        leaf(
            "Garden > Patio Furniture",
            199,
            kinds="Deck Chair; Bistro Table; Hammock; Parasol; Garden Bench",
            traits="Teak; Acacia; Weatherproof; Folding; Striped; Cushioned",
            uses="small balconies; afternoon naps; breakfast outside; shady corners",
            details="Folds flat for the winter.; Wood from certified forests.; Dries within minutes.; "
            "Carries two people easily.",
        ),
        leaf(
            "Garden > Pots & Watering",
            28,
            kinds="Watering Can; Plant Pot; Garden Hose; Hanging Planter; Drip Kit",
            traits="Zinc; Self-Watering; Terracotta; Glazed; Kink-Free; Long-Spout",
            uses="thirsty balconies; holidays away; herbs by the window; delicate seedlings",
            details="Frost-proof down to minus twenty.; Waters for two weeks.; A fine rose for young plants.; "
            "With saucer.",
        ),
        leaf(
            "Garden > Wildlife",
            21,
            kinds="Bird Feeder; Nesting Box; Bee Hotel; Bird Bath; Hedgehog House",
            traits="Cedar; Squirrel-Proof; Hanging; Thatched; Window; Recycled",
            uses="tits and robins; solitary bees; city gardens; curious children",
            details="Opens for cleaning.; Untreated wood, rain-proof roof.; Built to a naturalist's plan.; "
            "Occupied within a season, usually.",
        ),
    ),
)
