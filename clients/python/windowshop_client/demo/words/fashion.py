"""Women's and men's fashion, beauty."""

from windowshop_client.demo.words.leaf import department, leaf

DEPARTMENTS = (
    department(
        "Fayla; Modelle; Isla Bay; Rosmarine; Colette & June; Vireo; Amaranta; Maison Lirelle",
        leaf(
            "Women's Fashion > Dresses",
            79,
            kinds="Midi Dress; Wrap Dress; Shirt Dress; Maxi Dress; Slip Dress",
            traits="Linen; Floral; Pleated; Satin; Jersey; Embroidered",
            uses="garden weddings; warm evenings; the office and after; travelling light",
            details="With pockets, of course.; Falls softly over the hips.; Lined and never see-through.; "
            "Needs no iron.",
        ),
        leaf(
            "Women's Fashion > Knitwear",
            69,
            kinds="Cardigan; Jumper; Turtleneck; Knitted Vest; Pullover",
            traits="Merino; Cashmere-Blend; Chunky; Ribbed; Cropped; Alpaca",
            uses="cold offices; long walks; layering; slow weekends",
            details="Soft against the skin.; Keeps its shape for years.; Knitted in one piece.; "
            "Wool from farms that treat sheep well.",
        ),
        leaf(
            "Women's Fashion > Shoes",
            99,
            kinds="Ankle Boots; Ballet Flats; Sandals; Loafers; Sneakers",
            traits="Suede; Leather; Block-Heel; Pointed; Cushioned; Woven",
            uses="whole days on foot; dancing; cobbled streets; dresses and jeans",
            details="Comfortable out of the box.; A sole that grips.; Resoled by any cobbler.; "
            "Padded where it matters.",
        ),
        leaf(
            "Women's Fashion > Bags",
            89,
            kinds="Tote Bag; Crossbody Bag; Bucket Bag; Clutch; Shoulder Bag",
            traits="Leather; Canvas; Quilted; Woven; Vegan; Convertible",
            uses="laptop and lunch; evenings out; city trips; market days",
            details="An inside pocket with a zip.; Gets more beautiful with age.; Wears on three lengths.; "
            "Stands by itself.",
        ),
        leaf(
            "Women's Fashion > Jewellery",
            49,
            kinds="Hoop Earrings; Pendant Necklace; Signet Ring; Bracelet; Ear Cuffs",
            traits="Gold-Plated; Silver; Pearl; Hammered; Enamel; Fine",
            uses="every day; stacking; presents; black dresses",
            details="Free of nickel.; Recycled metal, made by hand.; Comes in a linen pouch.; Light enough to forget.",
        ),
        leaf(
            "Women's Fashion > Coats & Jackets",
            149,
            kinds="Trench Coat; Wool Coat; Denim Jacket; Puffer Jacket; Blazer",
            traits="Belted; Oversized; Double-Breasted; Recycled; Water-Repellent; Tailored",
            uses="April showers; frosty mornings; cycling to work; everything you own",
            details="Warm without weight.; Deep pockets for cold hands.; A cut that never dates.; "
            "Rolls into its own bag.",
        ),
    ),
    department(
        "Basico; Harrow; Fennick; Stadtholm; Lund & Lowe; Calder Row; Ashdown; Officina Drago",
        leaf(
            "Men's Fashion > Shirts",
            59,
            kinds="Oxford Shirt; Flannel Shirt; Linen Shirt; Polo Shirt; Overshirt",
            traits="Slim-Fit; Button-Down; Striped; Brushed; Non-Iron; Washed",
            uses="Monday to Friday; holidays; untucked weekends; warm meetings",
            details="Collar stays included.; Breathes in the heat.; Buttons that stay on.; Cut for real shoulders.",
        ),
        leaf(
            "Men's Fashion > Trousers & Jeans",
            79,
            kinds="Jeans; Chinos; Cargo Trousers; Corduroy Trousers; Joggers",
            traits="Straight; Tapered; Selvedge; Stretch; Relaxed; Garment-Dyed",
            uses="bikes and bars; the office; long drives; Sundays",
            details="Sturdy denim that softens.; Pockets that hold a phone.; Room to move.; Holds its colour.",
        ),
        leaf(
            "Men's Fashion > Shoes",
            119,
            kinds="Chelsea Boots; Derby Shoes; Trainers; Desert Boots; Boat Shoes",
            traits="Leather; Suede; Goodyear-Welted; Minimal; Canvas; Waxed",
            uses="rain and shine; suits and denim; standing all day; city weekends",
            details="Resole them for a decade.; A cork bed that moulds to the foot.; Easy to polish.; "
            "Light on the stairs.",
        ),
        leaf(
            "Men's Fashion > Coats & Jackets",
            159,
            kinds="Parka; Bomber Jacket; Field Jacket; Peacoat; Rain Jacket",
            traits="Waxed; Quilted; Hooded; Wool; Packable; Insulated",
            uses="wind from the sea; spring evenings; festival mud; the daily ride",
            details="Taped seams keep the rain out.; Pockets inside and out.; Warm to minus ten.; "
            "Packs into its own pocket.",
        ),
        leaf(
            "Men's Fashion > Watches & Belts",
            89,
            kinds="Field Watch; Dress Watch; Leather Belt; Wallet; Cufflinks",
            traits="Automatic; Minimal; Braided; Full-Grain; Steel; Slim",
            uses="every wrist; first jobs; fathers; a quiet statement",
            details="Sapphire glass and honest leather.; Ages with its owner.; Gift box included.; "
            "Five years of guarantee.",
        ),
        leaf(
            "Men's Fashion > Basics",
            24,
            kinds="T-Shirt; Boxer Briefs; Crew Socks; Undershirt; Sweatshirt",
            traits="Organic-Cotton; Heavyweight; Seamless; Merino; Three-Pack; Breathable",
            uses="under everything; gym and sofa; warm feet; men who hate shopping",
            details="No label to scratch.; Pre-washed: it will not shrink.; Flat seams.; Ribbing that recovers.",
            consumable=True,
        ),
    ),
    department(
        "Puria; Savonne; Herba Lane; Dermalis; Petal & Ash; Ondine; Lumière Noire; Seraphine",
        leaf(
            "Beauty > Skincare",
            26,
            kinds="Face Cream; Vitamin Serum; Cleansing Gel; Clay Mask; Eye Balm",
            traits="Hydrating; Fragrance-Free; Brightening; Soothing; Night; Rosehip",
            uses="dry winter skin; sensitive faces; short nights; a calm routine",
            details="Absorbs in a minute.; Tested by dermatologists.; In a refillable glass jar.; "
            "Vegan and never tested on animals.",
            consumable=True,
        ),
        leaf(
            "Beauty > Hair",
            16,
            kinds="Shampoo; Conditioner; Hair Oil; Styling Cream; Solid Shampoo Bar",
            traits="Repairing; Volumising; Argan; Curl-Defining; Mild; Nettle",
            uses="fine hair; wild curls; coloured hair; after the pool",
            details="Free of silicones.; Rinses out clean.; A little goes a long way.; Smells of herbs, not perfume.",
            consumable=True,
        ),
        leaf(
            "Beauty > Make-up",
            22,
            kinds="Lipstick; Mascara; Foundation; Eyeshadow Palette; Blush",
            traits="Matt; Long-Lasting; Cream; Dewy; Volume; Mineral",
            uses="five-minute mornings; red-letter days; warm skin tones; on top of sunscreen",
            details="Stays until you take it off.; Blends with a fingertip.; Colours that suit real faces.; "
            "Does not dry the lips.",
        ),
        leaf(
            "Beauty > Fragrance",
            74,
            kinds="Eau de Parfum; Eau de Toilette; Body Mist; Perfume Oil; Room Spray",
            traits="Citrus; Woody; Fig; Sandalwood; White-Tea; Neroli",
            uses="summer mornings; evenings out; gifts; people who hate perfume",
            details="Bright at first, warm in the end.; Lasts for eight hours.; Composed in a small studio.; "
            "Heavy glass, light scent.",
        ),
        leaf(
            "Beauty > Bath & Body",
            15,
            kinds="Body Lotion; Bath Salts; Hand Soap; Shower Oil; Hand Cream",
            traits="Lavender; Oat; Almond; Eucalyptus; Shea; Sea-Salt",
            uses="long baths; rough hands; after the sun; cold evenings",
            details="Leaves no film.; Made in small batches.; Rich, never greasy.; In recycled packaging.",
            consumable=True,
        ),
        leaf(
            "Beauty > Shaving & Beard",
            23,
            kinds="Safety Razor; Beard Oil; Shaving Cream; Aftershave Balm; Razor Blades",
            traits="Cedar; Closed-Comb; Calming; Classic; Travel; Menthol",
            uses="sensitive skin; short beards; daily shaves; weekend bags",
            details="A close shave without burning.; Good for a hundred shaves.; Softens even stubborn stubble.; "
            "Weighs well in the hand.",
            consumable=True,
        ),
    ),
)
