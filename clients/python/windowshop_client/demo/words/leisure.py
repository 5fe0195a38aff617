"""Sports, outdoor and travel, hobbies and games."""

from windowshop_client.demo.words.leaf import department, leaf

DEPARTMENTS = (
    department(
        "Fitto; Paceline; Kinetra; Rundeer; Velomont; Torsa; Apexio; Olympe Atelier",
        leaf(
            "Sports > Running > Running Shoes",
            119,
            kinds="Road Running Shoes; Trail Running Shoes; Racing Flats; Training Shoes; Walking Shoes",
            traits="Cushioned; Lightweight; Stable; Carbon-Plated; Wide-Fit; Responsive",
            uses="a first ten kilometres; long Sunday runs; muddy forest paths; marathon mornings",
            details="A springy foam that lasts a thousand kilometres.; Upper knitted in one piece.; "
            "Grips on wet asphalt.; Eight millimetres of drop.",
        ),
        leaf(
            "Sports > Running > Running Wear",
            45,
            kinds="Running Tights; Running Shirt; Running Jacket; Running Shorts; Running Socks",
            traits="Reflective; Merino; Windproof; Seamless; Quick-Drying; Thermal",
            uses="dark mornings; rain and headwind; summer heat; interval days",
            details="A pocket for keys and gel.; Flat seams, no chafing.; Dries on the way home.; Seen from afar.",
        ),
        leaf(
            "Sports > Yoga & Pilates",
            39,
            kinds="Yoga Mat; Yoga Block; Resistance Bands; Pilates Ring; Meditation Cushion",
            traits="Natural-Rubber; Cork; Non-Slip; Travel; Extra-Thick; Buckwheat",
            uses="sun salutations; bad knees; the living room floor; quiet minutes",
            details="Grips even with damp hands.; Rolls up small.; Free of plasticisers.; Alignment lines that help.",
        ),
        leaf(
            "Sports > Strength Training",
            89,
            kinds="Kettlebell; Dumbbells; Pull-Up Bar; Weight Bench; Skipping Rope",
            traits="Adjustable; Cast-Iron; Rubber-Coated; Foldable; Competition; Neoprene",
            uses="home gyms; ten minutes a day; strong backs; rainy evenings",
            details="Quiet on wooden floors.; A handle with the right roughness.; Stores under the bed.; "
            "Checked to the gram.",
        ),
        leaf(
            "Sports > Cycling",
            59,
            kinds="Bike Helmet; Bike Light Set; Cycling Gloves; Floor Pump; Pannier Bag",
            traits="Aerodynamic; Rechargeable; Waterproof; Urban; Ventilated; Padded",
            uses="commuting in the rain; long gravel days; dark winters; mountain passes",
            details="Mounts without tools.; Light you can see for a kilometre.; Fits with one hand.; "
            "Tested on cobbles.",
        ),
        leaf(
            "Sports > Swimming",
            34,
            kinds="Swim Goggles; Swimsuit; Swim Shorts; Kickboard; Swim Cap",
            traits="Anti-Fog; Chlorine-Proof; Open-Water; Mirrored; Racing; Recycled",
            uses="lanes before work; cold lakes; holidays; nervous beginners",
            details="Seals softly around the eyes.; Keeps its colour in the pool.; Comfortable for an hour.; "
            "UV protection of 50.",
        ),
    ),
    department(
        "Wayfar; Trekko; Nordhylla; Cairnline; Ostrava Peak; Basecamp Otter; Fernweh & Co; Altivo",
        leaf(
            "Outdoor & Travel > Tents & Sleeping",
            189,
            kinds="Two-Person Tent; Sleeping Bag; Sleeping Mat; Tarp; Family Tent",
            traits="Ultralight; Four-Season; Self-Inflating; Down; Freestanding; Compact",
            uses="nights above the tree line; festivals; bike tours; the first trip with children",
            details="Pitched in four minutes.; Dry after a night of rain.; Packs to the size of a loaf.; "
            "Comfortable to minus five.",
        ),
        leaf(
            "Outdoor & Travel > Backpacks",
            109,
            kinds="Daypack; Trekking Backpack; Rolltop Backpack; Hip Pack; Child Carrier",
            traits="Ventilated; Waterproof; Lightweight; Recycled; Expandable; Framed",
            uses="hut to hut; city and summit; carry-on only; heavy cameras",
            details="A hip belt that carries the weight.; Rain cover included.; Opens like a suitcase.; "
            "Repairs free for life.",
        ),
        leaf(
            "Outdoor & Travel > Hiking Wear",
            99,
            kinds="Hiking Boots; Softshell Jacket; Hiking Trousers; Fleece; Rain Poncho",
            traits="Waterproof; Zip-Off; Breathable; Insulated; Merino; Mid-Cut",
            uses="wet meadows; three seasons; scree and roots; changeable days",
            details="Breathes uphill, warms on top.; Broken in after one walk.; Ticks find no way in.; "
            "Dries overnight.",
        ),
        leaf(
            "Outdoor & Travel > Camp Kitchen",
            44,
            kinds="Camping Stove; Mess Kit; Vacuum Flask; Headlamp; Pocket Knife",
            traits="Titanium; Foldable; Insulated; Rechargeable; One-Handed; Windproof",
            uses="coffee at sunrise; winter hikes; van life; cooking for two",
            details="Boils half a litre in two minutes.; Tea stays hot until evening.; Weighs next to nothing.; "
            "Lights a path for eighty metres.",
        ),
        leaf(
            "Outdoor & Travel > Luggage",
            149,
            kinds="Cabin Suitcase; Duffel Bag; Packing Cubes; Toiletry Bag; Trolley",
            traits="Hard-Shell; Four-Wheel; Foldable; Canvas; Expandable; Featherweight",
            uses="weekend trips; three weeks away; business mornings; careful packers",
            details="Quiet wheels on cobbles.; Fits every cabin.; A lock for the whole world.; Five-year guarantee.",
        ),
        leaf(
            "Outdoor & Travel > Climbing",
            79,
            kinds="Climbing Shoes; Harness; Chalk Bag; Carabiner Set; Climbing Rope",
            traits="Beginner; Dynamic; Adjustable; Sticky; Lightweight; Dry-Treated",
            uses="boulder halls; first leads; long routes; family climbing",
            details="Certified to the mountain standard.; Comfortable on small footholds.; Handles gloves well.; "
            "Marked in the middle.",
        ),
    ),
    department(
        "Spielo; Pawn & Piper; Craftly; Tinkerhaus; Meeplewood; Arcadine; Stitch & Stave; Clavinet House",
        leaf(
            "Hobbies & Games > Board Games",
            36,
            kinds="Strategy Game; Cooperative Game; Card Game; Party Game; Dice Game",
            traits="Quick; Award-Winning; Two-Player; Family; Solo; Storytelling",
            uses="rainy weekends; four players and a teapot; couples; mixed ages",
            details="Explained in five minutes.; Different every time.; Wooden pieces, no plastic.; "
            "Plays in forty minutes.",
        ),
        leaf(
            "Hobbies & Games > Puzzles",
            21,
            kinds="Jigsaw Puzzle; Wooden Puzzle; Puzzle Box; Brain Teaser; 3D Puzzle",
            traits="1000-Piece; Illustrated; Map; Circular; Panorama; Tricky",
            uses="long evenings; the kitchen table; patient people; holidays",
            details="Pieces that click.; Thick board, no glare.; Painted by young artists.; Poster included.",
        ),
        leaf(
            "Hobbies & Games > Art Supplies",
            27,
            kinds="Watercolour Set; Acrylic Paints; Brush Set; Easel; Coloured Pencils",
            traits="Lightfast; Travel; Student; Beechwood; Pastel; Studio",
            uses="painting outdoors; first canvases; evening classes; urban sketching",
            details="Strong pigments, easy to mix.; In a tin that closes.; Made by an old family firm.; "
            "Good for children, too.",
        ),
        leaf(
            "Hobbies & Games > Yarn & Sewing",
            13,
            kinds="Merino Yarn; Knitting Needles; Embroidery Kit; Sewing Kit; Cotton Yarn",
            traits="Hand-Dyed; Bamboo; Beginner; Chunky; Organic; Vintage",
            uses="a first scarf; baby blankets; train journeys; mending what you love",
            details="Soft, even and washable.; Pattern included.; Dyed with plants.; Everything in one box.",
            consumable=True,
        ),
        leaf(
            "Hobbies & Games > Musical Instruments",
            139,
            kinds="Acoustic Guitar; Ukulele; Digital Piano; Cajon; Harmonica",
            traits="Concert; Starter; Solid-Top; Portable; Mahogany; Weighted",
            uses="campfires; first lessons; quiet flats; returning players",
            details="Stays in tune.; A warm, round tone.; Comes with a bag.; Set up by a luthier.",
        ),
        leaf(
            "Hobbies & Games > Models & Kits",
            48,
            kinds="Model Train; Ship Kit; Robot Kit; Telescope; Microscope",
            traits="Wooden; Detailed; Programmable; Beginner; Brass; Educational",
            uses="patient hands; fathers and daughters; clear nights; young inventors",
            details="No glue needed.; A manual you can follow.; Moves when it is done.; Grows with its owner.",
        ),
    ),
)
