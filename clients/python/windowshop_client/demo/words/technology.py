"""Electronics, and office and stationery."""

from windowshop_client.demo.words.leaf import department, leaf

DEPARTMENTS = (
    department(
        "Bitlo; Pockra; Norvik; Auralune; Teknara; Voltessa; Heliode; Maison Onde",
        leaf(
            "Electronics > Phones > Chargers & Cables",
            24,
            kinds="USB-C Charger; Power Bank; Charging Cable; Wireless Charging Pad; Car Charger",
            traits="Fast; Pocket; Braided; Dual-Port; Travel; Magnetic",
            uses="phones and tablets; long train rides; the bedside table; a tidy desk",
            details="Charges to half in under thirty minutes.; Stays cool and stops when full.; "
            "Tested for ten thousand bends.; Fits under any cover.",
        ),
        leaf(
            "Electronics > Phones > Cases & Mounts",
            19,
            kinds="Phone Case; Phone Mount; Screen Protector; Tablet Sleeve; Selfie Tripod",
            traits="Slim; Shockproof; Clear; Leather-Look; Adjustable; Recycled",
            uses="everyday bumps; handlebars and dashboards; video calls; clumsy hands",
            details="Raised edges protect camera and screen.; Grips without leaving marks.; "
            "Made in part from old fishing nets.; Goes on in seconds.",
        ),
        leaf(
            "Electronics > Computing > Keyboards & Mice",
            64,
            kinds="Mechanical Keyboard; Ergonomic Mouse; Gaming Mouse; Keyboard; Trackball",
            traits="Silent; Wireless; Backlit; Low-Profile; Programmable; Compact",
            uses="long writing days; quick games; shared offices; small desks",
            details="Switches rated for fifty million strokes.; Switches between three computers at a touch.; "
            "Shaped to keep the wrist straight.; A year on one set of batteries.",
        ),
        leaf(
            "Electronics > Computing > Monitors",
            279,
            kinds="4K Monitor; Curved Monitor; Portable Monitor; Office Monitor; Gaming Monitor",
            traits="27-Inch; 32-Inch; Colour-Accurate; Ultrawide; Height-Adjustable; Slim-Bezel",
            uses="photo editing; spreadsheets side by side; fast games; a second screen on the road",
            details="One cable for picture and power.; A matt panel without reflections.; "
            "Factory-calibrated colours.; Tilts, turns and pivots.",
        ),
        leaf(
            "Electronics > Audio > Headphones",
            89,
            kinds="Over-Ear Headphones; Earbuds; On-Ear Headphones; Studio Headphones; Sports Earphones",
            traits="Noise-Cancelling; Wireless; Open-Back; Foldable; Lightweight; Water-Resistant",
            uses="long flights and open-plan offices; the daily commute; listening late at night; mixing at home",
            details="Forty hours of playback on one charge.; Soft memory-foam cushions stay comfortable all day.; "
            "A clear microphone makes calls easy.; Balanced sound with a warm, unforced bass.",
        ),
        leaf(
            "Electronics > Audio > Speakers",
            119,
            kinds="Bluetooth Speaker; Soundbar; Bookshelf Speakers; Kitchen Radio; Party Speaker",
            traits="Portable; Compact; Waterproof; Room-Filling; Multiroom; Retro",
            uses="the kitchen table; garden parties; film nights; small living rooms",
            details="Pairs with a second one for stereo.; Plays for a whole weekend.; "
            "Voices stay clear at any volume.; A fabric front that fits every room.",
        ),
        leaf(
            "Electronics > Smart Home",
            45,
            kinds="Light Bulb; Motion Sensor; Door Sensor; Plug; Thermostat",
            traits="Smart; Dimmable; Battery-Saving; Outdoor; Colour-Changing; Energy-Measuring",
            uses="cosy evenings; holidays away; lower heating bills; hallways and stairs",
            details="Works without a cloud account.; Set up in two minutes.; Runs for two years on one battery.; "
            "Talks to every common hub.",
        ),
    ),
    department(
        "Klipso; Papyra; Inkwell & Daughters; Deskara; Foliant; Marelle; Ordna; Atelier Vento",
        leaf(
            "Office & Stationery > Notebooks & Planners",
            17,
            kinds="Notebook; Weekly Planner; Sketchbook; Pocket Journal; Project Book",
            traits="Dotted; Hardcover; Lay-Flat; Linen-Bound; Recycled; Undated",
            uses="meetings and margins; morning pages; plans that change; ideas on the train",
            details="Smooth 100-gram paper that does not bleed.; Two ribbons and a pocket at the back.; "
            "Numbered pages and an index.; Opens flat at every page.",
        ),
        leaf(
            "Office & Stationery > Pens & Markers",
            14,
            kinds="Fountain Pen; Gel Pens; Brush Pens; Fineliners; Mechanical Pencil",
            traits="Smooth; Pastel; Refillable; Quick-Drying; Brass; Assorted",
            uses="left-handed writers; letters by hand; bullet journals; notes on the go",
            details="Writes at the first touch.; Ink that dries before it smears.; A grip for long pages.; "
            "Refills in every common colour.",
            consumable=True,
        ),
        leaf(
            "Office & Stationery > Desk Organisation",
            29,
            kinds="Desk Organiser; Letter Tray; Cable Box; Monitor Stand; Pen Holder",
            traits="Bamboo; Stackable; Felt; Steel; Modular; Cork",
            uses="crowded desks; home offices; the corner in the kitchen; clear evenings",
            details="A place for everything you reach for.; Soft feet protect the table.; No tools needed.; "
            "Hides the cables nobody wants to see.",
        ),
        leaf(
            "Office & Stationery > Office Chairs",
            229,
            kinds="Office Chair; Saddle Stool; Task Chair; Footrest; Lumbar Cushion",
            traits="Ergonomic; Mesh-Back; Adjustable; Swivelling; Breathable; Upholstered",
            uses="eight-hour days; sensitive backs; standing desks; guests and siblings",
            details="Adjusts in height, depth and tilt.; Quiet wheels for wooden floors.; "
            "Supports the lower back where it matters.; Ten years of guarantee.",
        ),
        leaf(
            "Office & Stationery > Paper & Cards",
            11,
            kinds="Greeting Cards; Gift Wrap; Writing Paper; Postcards; Sticker Set",
            traits="Letterpress; Botanical; Marbled; Handmade; Gold-Foil; Illustrated",
            uses="birthdays and thank-yous; small surprises; friends far away; scrapbooks",
            details="Printed with vegetable inks.; Comes with matching envelopes.; Thick paper with a soft touch.; "
            "Drawn by hand, every one.",
            consumable=True,
        ),
    ),
)
