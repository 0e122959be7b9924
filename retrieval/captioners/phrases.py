"""How tags are said in a sentence: with which article, as a thing or as a place."""

from __future__ import annotations

from retrieval.english.nouns import with_article
from retrieval.english.things import alike, exacter, members

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

DOINGS = (members("sport") | {"dancing", "cooking", "camping", "fishing"}) - set(SETTINGS)
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


def as_thing(name: str) -> str:
    """A name as it stands in a sentence: `an orange`, `shoes`, `bread`."""
    if name in SPELT:
        return SPELT[name]
    if name in SETTINGS:
        return SETTINGS[name][1]
    return with_article(name)


def known(tag: str) -> bool:
    """Whether a tag is one that sentences can be made of, and not a word of a person's own."""
    return tag in SETTINGS or tag in DOINGS or tag in SPELT or alike(tag) != tag or bool(exacter(tag))
