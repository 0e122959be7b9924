"""What kinds of things there are: a pizza is food, a swan is a bird and an animal.

Of the tags that this program brings it is written down here; of a tag that somebody added its
last word tells ("rescue dog" is a dog), and of the names that a model has of its own the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from retrieval.english.nouns import single

KINDS = {
    "bird": (
        "chicken, duck, goose, swan, eagle, owl, parrot, penguin, flamingo, peacock, ostrich, "
        "pigeon, hummingbird, songbird"
    ),
    "insect": "butterfly, bee, beetle, dragonfly",
    "reptile": "lizard, snake, turtle, crocodile",
    "amphibian": "frog",
    "fish": "goldfish, shark",
    "sea animal": (
        "fish, whale, dolphin, seal, crab, lobster, jellyfish, starfish, coral, turtle, shark, penguin"
    ),
    "pet": "dog, cat, rabbit, goldfish, parrot",
    "farm animal": "cow, sheep, goat, pig, horse, chicken, duck, goose",
    "mammal": (
        "dog, cat, horse, cow, sheep, goat, pig, rabbit, squirrel, fox, wolf, bear, panda, "
        "lion, tiger, leopard, elephant, giraffe, zebra, camel, deer, monkey, ape, kangaroo, "
        "koala, bat, seal, whale, dolphin"
    ),
    "cat": "lion, tiger, leopard",
    "bear": "polar bear, panda",
    "wild animal": (
        "fox, wolf, bear, lion, tiger, leopard, elephant, giraffe, zebra, camel, deer, "
        "monkey, ape, kangaroo, koala, wildlife"
    ),
    "animal": ("mammal, bird, insect, reptile, amphibian, fish, sea animal, spider, snail, pet, wildlife"),
    "flower": "rose, sunflower",
    "tree": "",
    "plant": "flower, tree, grass, mushroom, cactus, houseplant",
    "building": (
        "house, skyscraper, castle, palace, church, mosque, temple, tower, lighthouse, "
        "windmill, barn, ruins, library, museum, hospital, hotel, theater, stadium, garage, "
        "train station, airport"
    ),
    "landmark": (
        "monument, statue, fountain, tower, lighthouse, bridge, castle, palace, church, mosque, temple, ruins"
    ),
    "room": "kitchen, bathroom, bedroom, living room, dining room, office, classroom",
    "nature": (
        "forest, field, mountain, valley, cliff, volcano, cave, desert, beach, sea, coast, "
        "island, lake, river, waterfall, sky, sunset, sunrise"
    ),
    "water": "sea, lake, river, waterfall, swimming pool, underwater",
    "weather": "snow, rain, fog, cloud, storm, lightning, rainbow",
    "car": "sports car, police car, ambulance",
    "truck": "fire truck",
    "boat": "sailboat, ship, canoe",
    "aircraft": "airplane, helicopter, hot air balloon, rocket",
    "vehicle": ("car, truck, bus, van, tractor, motorcycle, scooter, bicycle, train, tram, aircraft, boat"),
    "fruit": "apple, orange, banana, lemon, strawberry, pineapple, grapes",
    "vegetable": "broccoli, pepper, corn, potato, tomato, pumpkin, salad",
    "dessert": "cake, ice cream",
    "drink": "coffee, tea, beer, wine",
    "meal": "breakfast, picnic, barbecue",
    "food": (
        "fruit, vegetable, dessert, drink, meal, salad, soup, bread, pizza, burger, sandwich, "
        "pasta, sushi, steak, cheese"
    ),
    "furniture": "chair, table, sofa, bed, desk, shelf, bookcase, bench",
    "clothes": (
        "dress, coat, shirt, swimsuit, shoes, boot, glove, scarf, tie, hat, glasses, "
        "sunglasses, mask, jewelry, necklace, watch"
    ),
    "musical instrument": "guitar, piano, violin, drum",
    "computer": "laptop",
    "device": (
        "computer, screen, keyboard, computer mouse, phone, camera, television, radio, loudspeaker, "
        "microphone, headphones, refrigerator, oven, microwave, washing machine"
    ),
    "tool": "hammer, screwdriver, knife, scissors, ladder",
    "toy": "doll, teddy bear, puzzle, ball, board game, playing cards, swing",
    "game": "board game, playing cards, puzzle, soccer, basketball, baseball, tennis, golf",
    "weapon": "gun, sword",
    "luggage": "bag",
    "sport": (
        "swimming, running, cycling, hiking, skiing, surfing, sailing, soccer, basketball, "
        "baseball, tennis, golf, yoga, workout"
    ),
    "activity": "sport, dancing, cooking, camping, fishing, picnic, barbecue, concert, party",
    "event": (
        "wedding, birthday, party, concert, festival, christmas, halloween, fireworks, picnic, barbecue"
    ),
    "document": "receipt, map, chart, menu, newspaper, book cover, web page, handwriting",
    "book": "book cover, comic",
    "picture": "drawing, painting, poster, comic, map, chart, logo",
    "sign": "street sign",
    "bag": "backpack, suitcase, purse",
    "people": "family, crowd",
    "person": "man, woman, child, baby, people, family, crowd, selfie, portrait",
}
_WORDS = {
    "animal": "creature, beast, critter",
    "wild animal": "wildlife",
    "insect": "bug",
    "sea animal": "sea creature, marine animal",
    "dog": "puppy",
    "cat": "kitten, big cat",
    "drink": "beverage",
    "food": "dish, dinner, lunch, snack, supper, cuisine, photo of food",
    "dessert": "sweet",
    "clothes": "clothing, outfit, garment",
    "musical instrument": "instrument",
    "device": "gadget, appliance, electronics",
    "aircraft": "plane",
    "bicycle": "bike",
    "motorcycle": "motorbike",
    "person": "human, people",
    "luggage": "baggage",
    "activity": "hobby",
    "landmark": "monument, sight, attraction",
    "nature": "landscape, scenery",
    "event": "celebration",
    "sofa": "couch",
    "car": "automobile",
    "television": "tv",
    "water": "body of water",
    "document": "paper",
    "vehicle": "means of transport, transport",
    "snow": "ice",
    "harbor": "harbour",
}
"""Other words for the same kinds."""
_ALSO = {word: kind for kind, words in _WORDS.items() for word in words.split(", ")}
_NO_TAGS = (
    "activity, aircraft, amphibian, building, device, drink, event, farm animal, game, landmark, "
    "luggage, mammal, meal, nature, picture, plant, reptile, room, sea animal, sport, vehicle, "
    "water, weather, wild animal"
)
NO_TAGS = frozenset(_NO_TAGS.split(", "))
"""Kinds that no picture is tagged with."""
GENERIC = frozenset(
    {"animal", "wildlife", "pet", "food", "person", "people", "furniture", "clothes", "tool", "toy"}
)
"""Tags that only repeat the question where something more exact is known."""


@lru_cache(maxsize=512)
def kind_of(subject: str) -> str | None:
    """The kind that a subject in one's own words asks for; None for what is no known kind."""
    words = single(subject.strip().lower()).split()
    for start in range(len(words)):
        name = " ".join(words[start:])
        name = _ALSO.get(name, name)
        if name in KINDS or name in _SORTED:
            return name
    return None


@lru_cache(maxsize=256)
def members(kind: str) -> frozenset[str]:
    """All tags that are of a kind, by way of other kinds too."""
    found: set[str] = set()
    waiting = [kind]
    while waiting:
        for name in filter(None, KINDS.get(waiting.pop(), "").split(", ")):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return frozenset(found)


_SORTED = members("animal") | members("vehicle")
"""What is asked for by its sorts as well: breeds, makes."""


def is_a(tag: str, kind: str) -> bool:
    """Whether a tag is of a kind, or is the kind itself."""
    low, wanted = single(tag.lower()), single(kind.lower())
    wanted = _ALSO.get(wanted, wanted)
    low = _ALSO.get(low, low)
    return (
        low == wanted
        or tag.lower() in members(wanted)
        or low in members(wanted)
        or low.endswith(f" {wanted}")
    )


_THEMSELVES = frozenset({"cat", "bear"})
"""Nobody calls a lion a cat, or a panda a bear, who is asked for animals."""


def widened(name: str, kind: str, kinds: Sequence[str] = ()) -> str:
    """What something is called among others of a kind: among animals a swan is a bird, among birds a swan.

    `kinds` are what a model says of a name of its own, from the nearest to the widest; for a tag
    it is known. Only what pictures are tagged with can stand for something else.
    """
    low = name.lower()
    below = members(kind)
    if low in KINDS.get(kind, "").split(", "):
        return low
    known = [single(one.lower()) for one in kinds]
    over = [one for one in below if one not in NO_TAGS and (low in members(one) or one in known)]
    over = [one for one in over if one not in _THEMSELVES or one in known]
    over = [one for one in over if one not in GENERIC]
    return max(over, key=lambda one: (len(members(one)), one), default=name)


_MORE = {"car": "fire truck"}
"""Tags that say a more general one as well, though they are no kind of it."""
_ANY_ANIMAL = ("pet", "wildlife")
"""What an animal is to somebody, which says no more than its name does."""
_NOT_SAID = {"food": "drink, picnic, barbecue"}
"""Kinds of a general tag that stand beside it: who drinks coffee may eat as well."""
ALIKE = {
    "people": "person, @person, -selfie, -portrait",
    "bird": "bird, @bird",
    "insect": "insect, @insect, spider",
    "fish": "fish, @fish, whale, dolphin, seal",
    "reptile": "@reptile, @amphibian",
    "shellfish": "crab, lobster, jellyfish, starfish, coral, snail",
    "canine": "dog, wolf, fox",
    "mammal": "animal, wildlife, pet, polar bear, @mammal, -dog, -wolf, -fox, -seal, -whale, -dolphin",
    "plant": "flower, @flower, tree, mushroom, cactus, houseplant",
    "building": (
        "house, skyscraper, castle, palace, church, mosque, temple, monument, statue, tower, lighthouse, "
        "windmill, barn, ruins, bridge, pier"
    ),
    "vehicle": "@vehicle, wheel, -@aircraft, -@boat, -boat",
    "aircraft": "@aircraft",
    "boat": "boat, @boat",
    "fruit": "fruit, @fruit, pumpkin, tomato",
    "vegetable": "vegetable, @vegetable, -pumpkin, -tomato",
    "food": (
        "food, soup, bread, pizza, burger, sandwich, pasta, sushi, steak, cheese, breakfast, dessert, "
        "@dessert"
    ),
    "drink": "@drink",
    "furniture": "furniture, @furniture, -bench",
    "container": "basket, box, bag, @bag",
    "clothing": "clothes, @clothes, -watch",
    "device": (
        "@computer, computer, screen, keyboard, computer mouse, phone, camera, television, radio, "
        "loudspeaker, microphone, headphones"
    ),
    "tool": "tool, @tool, -ladder",
    "weapon": "weapon, @weapon",
    "instrument": "musical instrument, @musical instrument",
    "time": "clock, watch",
    "light": "lamp, candle",
    "writing": "book, @book, document, @document, @picture, screenshot, blackboard, sign, street sign",
}
"""Tags that a model takes for each other: tags, @ all of a kind, and - what is not among them.

What looks alike is not always of a kind: a whale is taken for a fish, a tomato for a fruit.
"""


def alike(tag: str) -> str:
    """What tags are taken for each other with this one; the tag itself where it has no such group."""
    return _groups().get(tag, tag)


@lru_cache(maxsize=1)
def _groups() -> dict[str, str]:
    return {tag: name for name, said in ALIKE.items() for tag in _tags_of(said)}


def _tags_of(said: str) -> frozenset[str]:
    found: set[str] = set()
    for one in said.split(", "):
        bare = one.removeprefix("-")
        these = members(bare[1:]) - NO_TAGS if bare.startswith("@") else {bare}
        found = found - these if one.startswith("-") else found | these
    return frozenset(found)


@lru_cache(maxsize=512)
def exacter(general: str) -> frozenset[str]:
    """The tags that say the same as a general one, and more; beside them it need not be said."""
    if general in _ANY_ANIMAL:
        return exacter("animal") - set(_ANY_ANIMAL)
    found = set(members(general)).union(filter(None, _MORE.get(general, "").split(", ")))
    for beside in filter(None, _NOT_SAID.get(general, "").split(", ")):
        found -= members(beside) | {beside}
    if general in _THEMSELVES:
        found = {one for one in found if one.endswith(f" {general}")}
    return frozenset(found) - NO_TAGS - {general}
