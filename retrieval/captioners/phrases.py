"""How tags are said in a sentence: with which article, as a thing or as a place, and which say the same."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

GROUPS = {
    "people": "person,people,man,woman,child,baby,family,crowd",
    "bird": (
        "bird,chicken,duck,goose,swan,eagle,owl,parrot,penguin,flamingo,peacock,ostrich,pigeon,hummingbird,"
        "songbird"
    ),
    "insect": "insect,butterfly,bee,beetle,dragonfly,spider",
    "fish": "fish,goldfish,shark,whale,dolphin,seal",
    "reptile": "lizard,snake,turtle,crocodile,frog",
    "shellfish": "crab,lobster,jellyfish,starfish,coral,snail",
    "canine": "dog,wolf,fox",
    "mammal": (
        "animal,wildlife,pet,cat,horse,cow,sheep,goat,pig,rabbit,squirrel,bear,polar bear,panda,lion,tiger,"
        "leopard,elephant,giraffe,zebra,camel,deer,monkey,ape,kangaroo,koala,bat"
    ),
    "plant": "flower,rose,sunflower,tree,mushroom,cactus,houseplant",
    "building": (
        "house,skyscraper,castle,palace,church,mosque,temple,monument,statue,tower,lighthouse,windmill,barn,"
        "ruins,bridge,pier"
    ),
    "vehicle": (
        "car,sports car,police car,fire truck,ambulance,bus,truck,van,tractor,motorcycle,scooter,bicycle,"
        "train,tram,wheel"
    ),
    "aircraft": "airplane,helicopter,hot air balloon,rocket",
    "boat": "boat,sailboat,ship,canoe",
    "fruit": "fruit,apple,orange,banana,lemon,strawberry,pineapple,grapes,pumpkin,tomato",
    "vegetable": "vegetable,broccoli,pepper,corn,potato,salad",
    "food": (
        "food,soup,bread,pizza,burger,sandwich,pasta,sushi,steak,cheese,cake,ice cream,dessert,breakfast"
    ),
    "drink": "coffee,tea,beer,wine",
    "furniture": "furniture,chair,table,sofa,bed,desk,shelf,bookcase",
    "container": "basket,box,bag,backpack,suitcase,purse",
    "clothing": (
        "clothes,hat,glasses,sunglasses,mask,jewelry,necklace,dress,coat,shirt,swimsuit,shoes,boot,glove,scarf,"
        "tie"
    ),
    "device": (
        "computer,laptop,keyboard,computer mouse,screen,television,phone,radio,loudspeaker,microphone,"
        "headphones,camera"
    ),
    "tool": "tool,hammer,screwdriver,knife,scissors",
    "weapon": "weapon,gun,sword",
    "instrument": "musical instrument,guitar,piano,violin,drum",
    "time": "clock,watch",
    "light": "lamp,candle",
    "writing": (
        "book,newspaper,screenshot,document,receipt,map,chart,web page,comic,drawing,painting,poster,logo,"
        "handwriting,menu,book cover,blackboard,sign,street sign"
    ),
}
"""Tags that a model takes for each other: of one such group a sentence says "or", not "and"."""

GENERAL = {
    "animal": "@bird,@insect,@fish,@reptile,@shellfish,@canine,@mammal",
    "wildlife": "@bird,@insect,@fish,@reptile,@shellfish,@canine,@mammal,-animal,-pet",
    "pet": "@bird,@insect,@fish,@reptile,@shellfish,@canine,@mammal,-animal,-wildlife",
    "bird": "@bird",
    "insect": "butterfly,bee,beetle,dragonfly",
    "fish": "goldfish,shark",
    "bear": "polar bear",
    "person": "@people",
    "people": "family,crowd",
    "flower": "rose,sunflower",
    "fruit": "@fruit",
    "vegetable": "@vegetable",
    "food": "@food,@fruit,@vegetable",
    "furniture": "@furniture",
    "clothes": "@clothing",
    "tool": "@tool",
    "weapon": "@weapon",
    "musical instrument": "@instrument",
    "car": "sports car,police car,ambulance,fire truck",
    "truck": "fire truck",
    "boat": "canoe,sailboat,ship",
    "computer": "laptop",
    "bag": "backpack,purse,suitcase",
    "sign": "street sign",
    "book": "book cover",
    "toy": "doll,teddy bear,puzzle",
}
"""General tags, and those that say the same more exactly: tags, @groups, and -exceptions."""

SETTINGS: dict[str, tuple[str, str]] = {
    "grass": ("on grass", "grass"),
    "forest": ("in a forest", "a forest"),
    "autumn": ("among autumn leaves", "autumn leaves"),
    "garden": ("in a garden", "a garden"),
    "field": ("in a field", "a field"),
    "mountain": ("in the mountains", "a mountain"),
    "valley": ("in a valley", "a valley"),
    "cliff": ("at a cliff", "a cliff"),
    "volcano": ("near a volcano", "a volcano"),
    "cave": ("in a cave", "a cave"),
    "desert": ("in a desert", "a desert"),
    "beach": ("at the beach", "a beach"),
    "sea": ("at the sea", "the sea"),
    "coast": ("on a coast", "a coast"),
    "island": ("on an island", "an island"),
    "lake": ("at a lake", "a lake"),
    "river": ("at a river", "a river"),
    "waterfall": ("at a waterfall", "a waterfall"),
    "snow": ("in the snow", "snow"),
    "rain": ("in the rain", "rain"),
    "fog": ("in fog", "fog"),
    "storm": ("in a storm", "a storm"),
    "sky": ("in the sky", "the sky"),
    "sunset": ("at sunset", "a sunset"),
    "sunrise": ("at sunrise", "a sunrise"),
    "night": ("at night", "a scene at night"),
    "stars": ("under the stars", "a sky full of stars"),
    "underwater": ("under water", "an underwater scene"),
    "aquarium": ("in an aquarium", "an aquarium"),
    "city": ("in a city", "a city"),
    "skyline": ("before a skyline", "a skyline"),
    "street": ("on a street", "a street"),
    "road": ("on a road", "a road"),
    "village": ("in a village", "a village"),
    "harbor": ("in a harbor", "a harbor"),
    "farm": ("on a farm", "a farm"),
    "kitchen": ("in a kitchen", "a kitchen"),
    "bathroom": ("in a bathroom", "a bathroom"),
    "bedroom": ("in a bedroom", "a bedroom"),
    "living room": ("in a living room", "a living room"),
    "dining room": ("in a dining room", "a dining room"),
    "office": ("in an office", "an office"),
    "classroom": ("in a classroom", "a classroom"),
    "library": ("in a library", "a library"),
    "museum": ("in a museum", "a museum"),
    "hospital": ("in a hospital", "a hospital"),
    "shop": ("in a shop", "a shop"),
    "supermarket": ("in a supermarket", "a supermarket"),
    "market": ("at a market", "a market"),
    "restaurant": ("in a restaurant", "a restaurant"),
    "cafe": ("in a cafe", "a cafe"),
    "bar": ("in a bar", "a bar"),
    "hotel": ("in a hotel", "a hotel"),
    "theater": ("in a theater", "a theater"),
    "cinema": ("in a cinema", "a cinema"),
    "stadium": ("in a stadium", "a stadium"),
    "gym": ("in a gym", "a gym"),
    "swimming pool": ("in a swimming pool", "a swimming pool"),
    "playground": ("on a playground", "a playground"),
    "amusement park": ("in an amusement park", "an amusement park"),
    "zoo": ("in a zoo", "a zoo"),
    "park": ("in a park", "a park"),
    "airport": ("at an airport", "an airport"),
    "train station": ("at a train station", "a train station"),
    "garage": ("in a garage", "a garage"),
    "parking lot": ("in a parking lot", "a parking lot"),
    "stairs": ("on stairs", "stairs"),
    "balcony": ("on a balcony", "a balcony"),
    "wedding": ("at a wedding", "a wedding"),
    "birthday": ("at a birthday party", "a birthday party"),
    "party": ("at a party", "a party"),
    "concert": ("at a concert", "a concert"),
    "festival": ("at a festival", "a festival"),
    "halloween": ("at Halloween", "Halloween"),
    "picnic": ("at a picnic", "a picnic"),
    "barbecue": ("at a barbecue", "a barbecue"),
}
"""Tags that say where or when: as they follow a thing, and as they stand alone."""

_DOINGS = (
    "dancing cooking swimming running cycling hiking camping skiing surfing sailing fishing soccer "
    "basketball baseball tennis golf yoga workout"
)
DOINGS = frozenset(_DOINGS.split())
"""Tags of what is done: said only where nothing better is known."""

SPELT: dict[str, str] = {
    "people": "people",
    "family": "a family",
    "selfie": "a selfie",
    "christmas": "a Christmas tree",
    "wildlife": "wild animals",
    "coral": "coral",
    "sign": "a sign",
    "watch": "a wristwatch",
    "screen": "a screen",
    "phone": "a mobile phone",
    "pepper": "a bell pepper",
    "houseplant": "a potted plant",
    "chart": "a chart or diagram",
    "black and white": "a black and white photo",
    "moon": "the moon",
    "workout": "a workout",
    "book cover": "a book cover",
}
"""Tags that are said otherwise than by the rules."""

_MASS = (
    "food fruit coffee tea beer wine bread cheese pizza pasta sushi soup breakfast corn "
    "broccoli furniture jewelry money medicine handwriting lightning coral hay dough wool fabric "
    "powder spray perfume sunscreen lotion guacamole eggnog espresso carbonara cauliflower cabbage "
    "consomme mail cream people syrup rapeseed paper"
)
MASS = frozenset(_MASS.split())
"""Nouns that take no article; the last word of a name decides."""
ONE = frozenset({"atlas", "canvas", "gas", "lens", "triceratops"})
"""Nouns that end like several and are one."""
_UNSEEN = ("Cc", "Cf", "Cn", "Co", "Cs")
_SINGULAR = re.compile(r".*(?:ss|us|is)$")
_AS_CONSONANT = re.compile(r"(?:uni(?!n)|use|user|eu|ewe|one\b|once|ufo|uk)", re.IGNORECASE)
_SPOKEN_VOWEL = re.compile(r"[AEFHILMNORSX][A-Z0-9]+\b|(?:hour|honest|heir)", re.ASCII)
_SPOKEN_CONSONANT = re.compile(r"[BCDGJKPQTUVWYZ][A-Z0-9]+\b", re.ASCII)


def as_thing(name: str) -> str:
    """A name as it stands in a sentence: `an orange`, `shoes`, `bread`."""
    if name in SPELT:
        return SPELT[name]
    if name in SETTINGS:
        return SETTINGS[name][1]
    last = name.split()[-1].casefold()
    several = last.endswith("s") and last not in ONE and not _SINGULAR.fullmatch(last)
    if several or last in MASS or name in DOINGS:
        return name
    return with_article(name)


def with_article(name: str) -> str:
    """`a` or `an` by how the first word is spoken."""
    if _SPOKEN_VOWEL.match(name):
        return f"an {name}"
    if _SPOKEN_CONSONANT.match(name) or _AS_CONSONANT.match(name):
        return f"a {name}"
    return f"an {name}" if name[:1].casefold() in "aeiou" else f"a {name}"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join(part for part in (", ".join(words[:-1]), words[-1] if words else "") if part)


def visible(text: str) -> str:
    """The text in one line, without characters that cannot be seen or that turn its direction."""
    shown = (
        character
        if unicodedata.category(character)[0] not in "CZ"
        else ""
        if unicodedata.category(character) in _UNSEEN and not character.isspace()
        else " "
        for character in unicodedata.normalize("NFC", text)
    )
    return " ".join("".join(shown).split())


def group(tag: str) -> str:
    """What tags are taken for each other with this one; the tag itself where it has no such group."""
    return _GROUP.get(tag, tag)


def exacter(general: str) -> frozenset[str]:
    """The tags that say the same as a general one, and more."""
    return _EXACTER.get(general, frozenset())


def known(tag: str) -> bool:
    """Whether a tag is one that sentences can be made of, and not a word of a person's own."""
    return tag in _GROUP or tag in SETTINGS or tag in DOINGS or tag in SPELT or tag in _EXACTER


_GROUP = {tag: name for name, tags in GROUPS.items() for tag in tags.split(",")}


def _more_exact(general: str) -> frozenset[str]:
    found: set[str] = set()
    for name in GENERAL[general].split(","):
        if name.startswith("-"):
            found.discard(name[1:])
        else:
            found.update(GROUPS[name[1:]].split(",") if name.startswith("@") else [name])
    return frozenset(found - {general})


_EXACTER = {general: _more_exact(general) for general in GENERAL}
