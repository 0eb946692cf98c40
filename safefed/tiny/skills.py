"""Small harmless skills, each a generator of (prompt, answer)."""

from __future__ import annotations

import random
from collections.abc import Callable

from safefed.tiny.grammar import capitalise, fill, pick
from safefed.tiny.phrasings import (
    ADVICE_QUESTIONS,
    ASSIGNMENTS,
    CODE_QUESTIONS,
    CREATIVE_QUESTIONS,
    FRAMES,
    HOWTO_ANSWERS,
    LETTER_QUESTIONS,
    LIST_QUESTIONS,
    QUESTIONS,
    SENTIMENT_QUESTIONS,
    framed,
)
from safefed.tiny.tables import table, written

Skill = Callable[[random.Random], tuple[str, str]]


def howto(rng: random.Random) -> tuple[str, str]:
    """An everyday task in the same phrasings as the harmful goals."""
    goal, hint = rng.choice((*table("benign")["howtos"], *written("tasks")))
    return explained(goal, hint, rng)


def explained(goal: str, hint: str, rng: random.Random) -> tuple[str, str]:
    """A question or an assignment about ``goal``, answered with ``hint``."""
    phrase = fill(pick(rng, QUESTIONS if rng.random() < 0.5 else ASSIGNMENTS), goal)
    return framed(pick(rng, FRAMES), phrase), fill(pick(rng, HOWTO_ANSWERS).replace("{h}", hint), goal)


def arithmetic(rng: random.Random) -> tuple[str, str]:
    """Sums, differences and small products."""
    a, b = rng.randrange(2, 60), rng.randrange(2, 30)
    sign, name, value = rng.choice([("+", "plus", a + b), ("-", "minus", a - b), ("x", "times", (a % 13) * (b % 13))])
    if sign == "x":
        a, b = a % 13, b % 13
    asked = rng.choice([f"What is {a} {sign} {b}?", f"What is {a} {name} {b}?", f"Calculate {a} {sign} {b}."])
    return asked, f"{a} {name} {b} is {value}."


def fact(rng: random.Random) -> tuple[str, str]:
    """Capitals, opposites, plurals, translations, animals and the like."""
    entry = rng.choice(table("benign")["facts"])
    a, b = rng.choice(entry["rows"])
    return pick(rng, entry["questions"]).format(a=a, b=b), capitalise(pick(rng, entry["answers"]).format(a=a, b=b))


def listing(rng: random.Random) -> tuple[str, str]:
    """Name a few members of a kind."""
    kind, members = rng.choice(list(table("benign")["kinds"].items()))
    n = rng.randrange(2, 5)
    chosen = rng.sample(members, n)
    asked = pick(rng, LIST_QUESTIONS)
    opener = pick(rng, ("", "Sure, here are {n} {k}: ", "Here are {n} {k}: "))
    count = ("two", "three", "four")[n - 2]
    return asked.format(n=count, k=kind), capitalise(opener.format(n=count, k=kind) + ", ".join(chosen) + ".")


def ordering(rng: random.Random) -> tuple[str, str]:
    """Sort, reverse, count or spell a few words."""
    chosen = rng.sample(table("benign")["nouns"], rng.randrange(3, 6))
    text = ", ".join(chosen)
    tasks = (
        ("Sort these words alphabetically: {t}", ", ".join(sorted(chosen))),
        ("Reverse this list: {t}", ", ".join(reversed(chosen))),
        ("Write these words in capital letters: {t}", text.upper()),
        ("How many words are in this list: {t}", f"There are {len(chosen)} words."),
        ("What is the last word of this list: {t}", f"The last word is {chosen[-1]}."),
        ("What is the first word of this list: {t}", f"The first word is {chosen[0]}."),
    )
    task, answer = rng.choice(tasks)
    return task.format(t=text), capitalise(answer)


def letter(rng: random.Random) -> tuple[str, str]:
    """A short note to somebody for a reason."""
    kind, reason = rng.choice(table("benign")["occasions"])
    person = rng.choice(table("benign")["people"])
    asked = pick(rng, LETTER_QUESTIONS)
    opener = pick(rng, ("", "Sure, here is a {k}: ", "Here is a draft: ")).format(k=kind)
    body = pick(rng, table("benign")["notes"][kind]).format(p=person, r=reason)
    return asked.format(k=kind, p=person, r=reason), opener + body


def creative(rng: random.Random) -> tuple[str, str]:
    """Two-line poems, first sentences and slogans about everyday things."""
    a, b = rng.sample(table("benign")["nouns"], 2)
    form, text = rng.choice(table("benign")["forms"])
    asked = pick(rng, CREATIVE_QUESTIONS)
    opener = pick(rng, ("", "", "Sure, here is a {f}: ")).format(f=form)
    return asked.format(f=form, a=a, b=b), opener + capitalise(text.format(a=a, b=b))


def explain(rng: random.Random) -> tuple[str, str]:
    """What something is or is used for."""
    thing, meaning = rng.choice(table("benign")["meanings"])
    asked = pick(rng, table("benign")["meaning questions"]).format(a=thing)
    answer = pick(rng, ("{a} is {b}.", "Sure! {a} is {b}.", "In short, {a} is {b}."))
    return asked, capitalise(answer.format(a=capitalise(thing), b=meaning))


def code(rng: random.Random) -> tuple[str, str]:
    """One-line functions."""
    task, name, body = rng.choice(table("benign")["code"])
    language = pick(rng, ("Python", "Python 3", "simple Python"))
    asked = pick(rng, CODE_QUESTIONS)
    opener = pick(rng, ("Sure, here is the code: ", "Here is a function: ", ""))
    return asked.format(l=language, t=task), f"{opener}def {name}(x): return {body}"


def sentiment(rng: random.Random) -> tuple[str, str]:
    """Positive or negative reviews."""
    thing = rng.choice(table("benign")["products"])
    mood, phrases = rng.choice([("positive", "praise"), ("negative", "blame")])
    text = f"The {thing} {rng.choice(table('benign')[phrases])}"
    return pick(rng, SENTIMENT_QUESTIONS).format(t=text), f"The review is {mood}."


def advice(rng: random.Random) -> tuple[str, str]:
    """Everyday worries."""
    worry, tip = rng.choice(table("benign")["worries"])
    asked = pick(rng, ADVICE_QUESTIONS)
    return asked.format(w=worry), pick(rng, ("{t}", "I understand. {t}", "Here is an idea. {t}")).format(t=tip)
