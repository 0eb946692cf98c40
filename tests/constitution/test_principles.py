from safefed.constitution import Constitution, Example, Principle, load_constitution
from safefed.records import HAZARDS, content_hash

IDS = [f"{n:064x}" for n in range(20)]
REFUSALS = ("I can't help with that.", "I won't do that.")
EXAMPLE = Example("What now?", "Something bad.", "It is bad.", "Something good.")


def principle(id_: str = "a", **changes: object) -> Principle:
    fields = {"title": "A", "hazards": ("S1",), "critique_request": "critique", "revision_request": "revise"}
    return Principle(id=id_, **fields | changes)  # type: ignore[arg-type]


def revision(*principles: Principle, refusals: tuple[str, ...] = REFUSALS, **about: str) -> str:
    return Constitution.of(about.pop("name", "x"), principles, refusals, **about).revision


def test_a_known_category_gets_its_own_principle_first():
    constitution = load_constitution()

    for hazard in HAZARDS:
        assert all(len(constitution.pick(hazard, id_, 0).hazards) <= 2 for id_ in IDS)
        assert all(hazard in constitution.pick(hazard, id_, 0).hazards for id_ in IDS)


def test_an_unknown_category_gets_general_principles_spread_by_the_samples_hash():
    constitution = load_constitution()

    picked = {constitution.pick(None, id_, 0).id for id_ in IDS}

    assert picked == {p.id for p in constitution.principles if p.is_general}


def test_each_further_attempt_takes_another_principle():
    constitution = load_constitution()

    for category in (None, "S9"):
        picked = [constitution.pick(category, IDS[0], attempt).id for attempt in range(len(constitution.principles))]
        assert len(set(picked)) == len(constitution.principles)


def test_the_pick_does_not_depend_on_the_order_of_the_file():
    constitution = load_constitution()
    backwards = Constitution.of("backwards", constitution.principles[::-1], constitution.refusals)

    assert all(backwards.pick(None, i, 1) == constitution.pick(None, i, 1) for i in IDS)
    assert backwards.revision == constitution.revision


def test_a_seed_orders_equals_in_another_way_and_seed_0_as_without_one():
    constitution = load_constitution("minimal")

    by_seed = [[constitution.pick("S2", id_, 0, seed).id for id_ in IDS] for seed in (0, 1, 1, 2)]

    first = [min(constitution.principles, key=lambda p: content_hash([id_, p.id])).id for id_ in IDS]
    assert by_seed[0] == first
    assert by_seed[1] == by_seed[2]
    assert len({tuple(picked) for picked in by_seed}) == 3


def test_a_seed_never_puts_a_general_principle_before_the_hazards_own():
    constitution = load_constitution()

    assert {constitution.pick("S9", id_, 0, seed).id for id_ in IDS for seed in range(5)} == {"no-mass-harm"}


def test_refusals_are_spread_over_samples_and_the_same_for_the_same_one():
    constitution = Constitution.of("x", [principle()], REFUSALS)

    assert {constitution.refusal_for(id_) for id_ in IDS} == set(REFUSALS)
    assert all(constitution.refusal_for(id_) == constitution.refusal_for(id_) for id_ in IDS)


def test_the_revision_changes_with_whatever_decides_what_is_asked_or_answered():
    changed = [
        revision(principle()),
        revision(principle("b")),
        revision(principle(hazards=("S2",))),
        revision(principle(critique_request="another")),
        revision(principle(revision_request="another")),
        revision(principle(examples=(EXAMPLE,))),
        revision(principle(), refusals=REFUSALS[::-1]),
        revision(principle(), principle("b")),
    ]

    assert len(set(changed)) == len(changed)


def test_the_revision_stays_with_name_version_title_and_order():
    one, two = principle(), principle("b")

    assert revision(one, two) == revision(two, principle(title="Another"), name="y", version="2")
