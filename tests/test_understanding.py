"""What a question asks beside the usual kinds, and what is said where it is not understood."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from retrieval import Catalog
from retrieval.answers.conversation import plan_of, plan_row
from retrieval.answers.shapes import Inquiry, Past, Plan, Search, Task
from retrieval.answers.understanding import meant as meant_module
from retrieval.answers.understanding.meant import meant
from retrieval.answers.understanding.planning import plan_by_rules
from retrieval.query.filters import Filter
from retrieval.state import State
from retrieval.types import Answer
from tests.conftest import draw
from tests.test_ask import BERGEN, LISBON, exif

TODAY = dt.date(2024, 5, 15)


def planned(question: str, *past: Past) -> Plan:
    return plan_by_rules(Inquiry(question, TODAY, past=past))


def way(plan: Plan) -> str:
    return "" if plan.task is None else plan.task.way


@pytest.fixture
def library(tmp_path: Path, index: Callable[..., Any]) -> Iterator[Catalog]:
    """Three red pictures, two of them from Lisbon, a blue one from Bergen, a green one without anything."""
    folder = tmp_path / "library"
    draw(
        folder / "Trip 2021" / "a.jpg",
        "red",
        exif=exif("2021:06:01 10:00:00", LISBON, camera=True),
        quality=95,
    )
    draw(folder / "Trip 2021" / "b.jpg", "red", mark=2, exif=exif("2022:07:02 10:00:00", LISBON), quality=95)
    draw(folder / "c.jpg", "red", mark=3, exif=exif("2022:07:03 10:00:00"), quality=95)
    draw(folder / "d.jpg", "blue", size=(40, 60), exif=exif("2022:12:24 18:00:00", BERGEN), quality=95)
    draw(folder / "e.png", "green")
    index(folder)
    with Catalog(tmp_path / "catalog") as catalog:
        yield catalog


def asked(library: Catalog, question: str, **more: Any) -> Answer:
    return library.ask(question, answerer="rules", **more)


def names(answer: Answer) -> list[str]:
    return [citation.path.stem for citation in answer.citations]


@pytest.mark.parametrize(
    "question",
    ["hello", "Hi there!", "Thanks!", "thank you so much", "I love you", "Good morning", "How are you?",
     "What is the best photo?", "Which is my favourite picture?", "What can you do?", "pictures smaller than 2 MP",
     "Show me pictures of me", "Is there a photo of everyone?", "Delete all photos", "What is 2+2?", "What do you think of my photos?"],
)  # fmt: skip
def test_what_asks_for_nothing_in_the_pictures_is_not_searched_for(question: str) -> None:
    assert way(planned(question)) == "chat"


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("Why is the dog sad?", "dog sad"), ("How old is the tree?", "tree"), ("How long is the bridge?", "bridge"),
        ("Is the car bigger than the house?", "car bigger house"), ("Can you sing?", "sing"),
        ("Is there a picture with more than one cat?", "cat"), ("Are all the dogs brown?", "dogs brown"),
        ("Do I take more photos of dogs or of cats?", "dogs cats"), ("Are more pictures from Lisbon or from Norway?", ""),
        ("Was ist auf dem Bild mit dem Hund?", "Hund"),
        ("Wo ist der Hund?", "Hund"), ("Zeig mir Hunde am Strand", "Hunde Strand"), ("Hunde im Schnee", "Hunde Schnee"),
        ("Wie viele Katzen gibt es?", "Katzen"), ("Où est le chat ?", "chat"), ("Montre-moi les chiens sur la plage", "chiens plage"),
        ("¿Dónde está el perro?", "perro"), ("Quanti cani ci sono?", "cani"), ("Где мы ели?", "Где мы ели"), ("犬はいますか", "犬はいますか"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_only_searched_by_its_words(question: str, words: str) -> None:
    plan = planned(question)
    assert (way(plan), plan.searches[0].words) == ("unclear", words)


@pytest.mark.parametrize(
    "question",
    ["a man in a hat", "the die is cast", "war memorial", "Rio de Janeiro", "Los Angeles", "Playa de los Muertos",
     "la dolce vita", "best friends", "How many dogs?", "Do you see a cat?", "Have you ever seen a cat?", "Can you show me dogs?", "am I in a boat",
     "dogs in the snow", "Is there a Dachshund?", "no", "a man on a bike", "Die Hard", "El Capitan", "im looking for cats",
     "photos older than 2010", "help sign at the beach",
        'What does the sign "wo ist der Hund" say to us?'],
)  # fmt: skip
def test_what_rules_read_is_not_taken_for_something_else(question: str) -> None:
    assert planned(question).task is None


def test_nothing_is_claimed_of_the_library_where_a_question_is_not_understood(library: Catalog) -> None:
    for question in (
        "hello",
        "I love you",
        "What is the best photo?",
        "Wo ist der Hund?",
        "Why is the dog sad?",
    ):
        answer = asked(library, question)
        assert "not understood by rules" in answer.text, question
        assert "does not show" not in answer.text
        assert (answer.confidence, 'search "WORDS"' in answer.text) == (0.0, True)
    seen = asked(library, "Why is it so red?")
    assert (sorted(names(seen)), seen.confidence) == (["a", "b", "c"], 0.0)
    assert seen.steps[0].text == "The question was not understood; by rules."


def test_how_long_is_told_as_not_understood_with_the_pictures_of_the_place(library: Catalog) -> None:
    answer = asked(library, "How long were we in Lisbon?")
    assert "how long something took" in answer.text
    assert "A search for pictures taken near Lisbon finds 2 pictures" in answer.text


def test_judgements_are_left_aside_where_something_is_left(library: Catalog) -> None:
    answer = asked(library, "Show me the best photos of something red")
    assert sorted(names(answer)) == ["a", "b", "c"]
    assert "“the best” was left aside. Rules cannot judge pictures." in answer.notes


def test_nobody_is_recognised_and_that_is_said() -> None:
    plan = planned("photos of us in Rome")
    assert plan.searches == (Search("", Filter(near="Rome")),)
    assert "“us” was left aside: nobody is recognised" in plan.notes[0]
    assert planned("pictures of her dog").notes == ()


def test_numbers_of_things_are_left_aside_where_pictures_are_wanted() -> None:
    for question in ("pictures with at least two people", "Show me photos with more than one person"):
        plan = planned(question)
        assert plan.searches[0].words in ("people", "person")
        assert "was left aside. Pictures are counted" in plan.notes[0]


def test_numbers_of_pictures_are_counted_and_compared(library: Catalog) -> None:
    for question, yes in (
        ("Are there more than 2 red pictures?", "Yes"), ("Do I have more than three red photos?", "No"),
        ("Are there at least 3 red pictures?", "Yes"), ("Are there fewer than 3 red pictures?", "No"),
        ("Are there exactly three red pictures?", "Yes"), ("Are there at most 2 red pictures?", "No"),
    ):  # fmt: skip
        assert asked(library, question).text.startswith(f"{yes}: 3 pictures look like"), question
    assert asked(library, "Are there more than 3 pictures from 2022?").text.startswith(
        "No: the library has 3 pictures taken in 2022"
    )
    none = asked(library, "Are there more than 2 pictures from 1999?")
    assert (none.text, none.confidence) == ("No: no picture was taken in 1999.", 0.0)


def test_two_kinds_of_pictures_are_held_against_each_other(library: Catalog) -> None:
    answer = asked(library, "Are there more photos from 2022 than from 2021?")
    assert answer.text.startswith(
        "Yes: 3 pictures were taken in 2022 [1][2][3], 1 picture was taken in 2021 [4]"
    )
    assert asked(library, "Do we have fewer photos in Lisbon than in Bergen?").text.startswith(
        "No: 2 pictures were"
    )
    assert asked(library, "Are there more photos in Norway than from 2021?").text.startswith(
        "No, as many: 1 picture"
    )
    years = planned("Are there more dogs in 2022 than in 2021?").searches
    assert [(search.words, str(search.where.after)[:4]) for search in years] == [
        ("dogs", "2022"),
        ("dogs", "2021"),
    ]
    plan = planned("Are there more dogs than cats?")
    assert [search.words for search in plan.searches] == ["dogs", "cats"]


def test_one_picture_is_like_one_thing(library: Catalog) -> None:
    told = asked(library, "Are there more red dogs than blue dogs?").text
    assert "3 pictures look like red dogs" in told
    assert "1 picture looks like a blue dog" in told


def test_whether_all_are_such_is_counted(library: Catalog) -> None:
    answer = asked(library, "Are all pictures from Lisbon?")
    assert answer.text == "No: 2 of 5 pictures were taken near Lisbon [1][2]; 2 say nothing of it."
    assert sorted(names(answer)) == ["a", "b"]
    assert asked(library, "Is every picture from 2022?").text.startswith(
        "No: 3 of 5 pictures were taken in 2022"
    )
    assert asked(library, "Are most of my pictures from 2022?").text.startswith("Yes: 3 of 5")
    assert asked(library, "Are all pictures of something red?").text.startswith(
        "No: 3 of 5 pictures look like"
    )
    assert asked(library, "Is it true that all photos are from 2022?").text.startswith("No: 3 of 5")


def test_what_says_nothing_leaves_all_open(library: Catalog) -> None:
    answer = asked(library, "Are all pictures from Lisbon?", where=Filter(before="2022-12-01", type="jpeg"))
    assert answer.text.startswith("That is not known: 2 of 3 pictures were taken near Lisbon")
    assert answer.confidence == 0.0
    whole = asked(library, "Are all pictures from Lisbon?", where=Filter(folder=library_folder(library)))
    assert whole.text.startswith("Yes: 2 of 2 pictures were taken near Lisbon")


def library_folder(library: Catalog) -> str:
    return str(next(hit.path.parent for hit in library.search("red") if hit.path.stem == "a"))


def test_pictures_that_say_no_place_or_time_are_counted(library: Catalog) -> None:
    for question in (
        "How many pictures have no location?", "Are there photos without a place?", "photos without GPS data",
        "Do all photos have a location?",
    ):  # fmt: skip
        assert asked(library, question).text.startswith("2 of 5 pictures do not say where they were taken"), (
            question
        )
    undated = asked(library, "Show me undated pictures")
    assert (undated.text, names(undated)) == ("1 of 5 pictures does not say when it was taken [1].", ["e"])
    assert way(planned("no place like home")) == ""


def test_years_are_counted_from_the_rows(library: Catalog) -> None:
    answer = asked(library, "In which year did I take the most photos?")
    assert answer.text == (
        "The most were taken in 2022, 3 pictures [1][2][3]; then come 2021 (1). "
        "4 of 5 pictures say when they were taken."
    )  # fmt: skip
    assert asked(library, "How many photos did I take per year?").text.startswith(
        "4 of 5 pictures say when they were taken: 1 in 2021 [1] and 3 in 2022 [2]"
    )
    assert "July 2022, 2 pictures" in asked(library, "In which month did I take the most pictures?").text
    assert "fewest were taken in 2021" in asked(library, "In what year did I take the fewest photos?").text


def test_a_season_of_any_year_is_taken_from_the_rows(library: Catalog) -> None:
    answer = asked(library, "Which of my photos are from winter?")
    assert answer.text == (
        "1 of 5 pictures was taken in winter, from December to February as in the northern half of the globe [1]; "
        "1 says nothing of when."
    )
    assert names(answer) == ["d"]
    assert sorted(names(asked(library, "red photos from the summer"))) == ["a", "b", "c"]
    assert asked(library, "How many photos did we take in spring?").confidence == 0.0
    for question in ("the garden in winter", "photos from last winter", "photos from winter 2022", "winter"):
        assert way(planned(question)) == "", question


def test_a_place_is_asked_for_by_its_pictures_and_else_by_its_name(library: Catalog) -> None:
    for question in (
        "Tell me about Norway",
        "What do you know about Norway?",
        "Pictures of Norway",
        "Norway?",
    ):
        plan = planned(question)
        assert (plan.searches, plan.subject) == ((Search("", Filter(near="Norway")),), ""), question
        assert names(asked(library, question)) == ["d"], question
    plan = planned("Tell me about Thailand")
    assert plan.instead is not None
    assert asked(library, "Tell me about Thailand").steps[0].data["searches"] == [{"words": "Thailand"}]
    for question in (
        "Tell me about Florence",
        "pictures of Anna",
        "pictures of Victoria",
        "Tell me about dogs",
        "Orange?",
    ):
        assert "near" not in planned(question).as_dict()["searches"][0], question


def test_sizes_and_folders_are_conditions(library: Catalog) -> None:
    for question, size in (
        ("Which pictures are bigger than 12 MP?", "12MP"), ("Show me photos larger than 4000 pixels", "4000"),
        ("photos of at least 1920x1080", "1920x1080"), ("dogs in photos with more than 3.5 megapixels", "3.5MP"),
    ):  # fmt: skip
        assert planned(question).searches[0].where.min_size == size, question
    assert planned("Describe IMG_8060.jpg").searches == (Search("IMG_8060.jpg"),)
    assert sorted(names(asked(library, "Show me the pictures in the folder Trip 2021"))) == ["a", "b"]
    assert len(names(asked(library, "How many pictures are in the folder trip 2021?"))) == 2
    nowhere = asked(library, "What is in the folder Nowhere?")
    assert nowhere.steps[0].data["searches"] == [{"words": "Nowhere"}]


def test_one_question_is_answered_at_a_time() -> None:
    plan = planned("Is there a dog? And how many cats?")
    assert (plan.kind, plan.searches[0].words) == ("whether", "dog")
    assert plan.notes == (
        "One question is answered at a time: “And how many cats?” was left aside; ask it next.",
    )
    plan = planned("Hello! How are things. Is there a dog? Thanks!")
    assert (plan.kind, plan.searches[0].words, plan.notes) == ("whether", "dog", ())
    plan = planned('What does the sign "Stop? Go!" say?')
    assert plan.notes == ()
    assert planned("Is there St. Bernard dog?").searches[0].words == "St Bernard dog" or planned(
        "Is there a St. Bernard dog?"
    ).searches[0].words.endswith("Bernard dog")


def test_a_very_polite_question_is_read_to_its_end() -> None:
    plan = planned(
        "Dear assistant, I hope you are having a wonderful day. I was wondering whether you could possibly be so "
        "kind as to take a moment of your valuable time to look through all of my photographs and let me know, if it "
        "is not too much trouble, whether there might by any chance be a picture of a dog somewhere in my collection. Many thanks in advance!"
    )
    assert (plan.kind, plan.searches[0].words) == ("whether", "dog")
    assert plan.notes[0].startswith("Of the question only this was read: “whether there might")
    story = planned("What did the " + " ".join(f"thing{number}" for number in range(20)) + " do?")
    assert (way(story), "too long" in str(story.task and story.task.word)) == ("unclear", True)


def test_several_things_are_counted_together() -> None:
    for question, words in (
        ("How many dogs and cats are there?", ["dogs", "cats"]),
        ("How many dogs, cats and birds do we have?", ["dogs", "cats", "birds"]),
        ("How many black and white dogs are there?", ["black and white dogs"]),
    ):
        assert [search.words for search in planned(question).searches] == words
    assert planned("How many dogs and cats are there?").subject == "dogs or cats"


def test_whoever_does_something_is_found_by_the_thing() -> None:
    for question in (
        "Who plays the accordion?",
        "Who is in the picture with the accordion?",
        "Who is playing the accordion?",
    ):
        plan = planned(question)
        assert (plan.kind, plan.searches[0].words, plan.subject) == ("what", "accordion", "accordion"), (
            question
        )
    assert planned("Who is on the boat?").searches[0].words == "people on the boat"


def test_a_cited_picture_is_asked_for_by_its_number(library: Catalog) -> None:
    first = asked(library, "Show me something red", keep=True)
    second = first.citations[1]
    for question in (
        "When was [2] taken?",
        "show me the second one",
        "what is in [2]?",
        "where was picture 2 taken?",
    ):
        answer = asked(library, question, follow_up=True)
        assert answer.steps[0].data.get("pictures") == [second.image_id], question
    answer = asked(library, "When was [2] taken?", follow_up=True, keep=True)
    assert names(answer) == [second.path.stem]
    beyond = asked(library, "what is in [9]?", follow_up=True, keep=True)
    assert "cites 1 of them" in beyond.text
    assert asked(library, "when was [1] taken?", follow_up=True).steps[0].data["pictures"] == [
        second.image_id
    ]
    assert way(planned("what is in [2]?")) == "chat"


def test_what_was_not_understood_is_not_gone_on_from() -> None:
    cats = Past("Show me cats", "Cats.")
    thanks = Past("Thanks!", "Not understood.", planned("Thanks!"))
    assert planned("and in 2022?", cats, thanks).searches[0].words == "cats"


def test_a_task_and_its_pictures_survive_in_the_catalog() -> None:
    plan = Plan("count", (Search("dogs"),), task=Task("period", "most", unit="year"), pictures=(3, 5))
    assert plan_of(plan_row(plan)) == plan
    assert plan_of({**plan_row(plan), "task": {"way": "made up"}, "pictures": "x"}) == Plan(
        "count", (Search("dogs"),)
    )


def test_a_slip_of_the_hand_is_asked_back(library: Catalog) -> None:
    answer = asked(library, "Is there a dgo?")
    assert (answer.text, answer.confidence) == ("Nothing was found for “dgo”. Did you mean “dog”?", 0.0)
    state: State = library.state
    for words, known in (("elefants", "elephants"), ("white hosre", "white horse"), ("bicylce", "bicycle")):
        assert meant(state, words) == known
    for words in ("dog", "blanket", "sewing machine", "Mninka", "犬", "octopus", "xq", "Zxcvbnm qwrtzp"):
        assert meant(state, words) == "", words


def test_letters_apart_are_counted_up_to_a_limit() -> None:
    apart = meant_module._apart
    assert [
        apart("dgo", "dog", 2),
        apart("cat", "cat", 2),
        apart("cat", "cart", 2),
        apart("cat", "house", 2),
    ] == [1, 0, 1, 3]
