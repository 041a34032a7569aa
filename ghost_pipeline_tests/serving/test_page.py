import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from ghost_pipeline.domain.ngrams.ngram_queries import CATEGORY_COLORS
from ghost_pipeline.publish.database_builder import publish
from ghost_pipeline.settings import Settings
from ghost_pipeline_tests.defs.typists import Typist
from ghost_pipeline_tests.serving.browsing import Visit, chromium, ngrams
from ghost_pipeline_tests.serving.worlds import KEY, bearer, served, settings

HOSTILE = {
    "<script>x</script>": "<script>x</script>",
    "\"'&amp;<b>": "\"'&amp;<b>",
    "שלום": "שלום",
    "\u202eab": "U+202Eab",
    "👩‍👩‍👧": "👩‍👩‍👧",
    "\u0301": "◌\u0301",
    "\u0007": "U+0007",
    "a" * 20: "a" * 20,
}
"""N-gram -> what its tile says."""
MANY = 2_000
OPEN = ".tile:visible"

Visitor = Callable[..., Visit]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """`u1` on `k1` (target 300) on three days and, with a mistake, on `k2`; `u2` with 2,000 n-grams on `k3`.

    `u3` gets faster on `k4` for five days.
    """
    typist = Typist(tmp_path_factory.mktemp("page"))
    typist.tables["users"] += [{"user_id": user, "created_at": "2025-01-01"} for user in ("u2", "u3")]
    typist.tables["keyboards"] = [
        {"keyboard_id": "k1", "user_id": "u1", "keyboard_name": "Desk", "target_ms_per_keystroke": 300},
        {"keyboard_id": "k2", "user_id": "u1", "keyboard_name": "<b>Lap</b>"},
        {"keyboard_id": "k3", "user_id": "u2"},
        {"keyboard_id": "k4", "user_id": "u3", "target_ms_per_keystroke": 300},
    ]
    for number, th in enumerate((420, 405, 390, 375, 360)):
        typist.session(f"better{number}", f"2025-03-{number + 4:02}T08:10:00Z", text="", user_id="u3", keyboard_id="k4")
        typist.measured(f"better{number}", "th", th)
    for day, th in ((9, 400), (10, 360), (12, 320)):
        typist.session(f"s{day}", f"2025-03-{day:02}T08:10:00Z", text="")
        for text, milliseconds in {"th": th, "he": 250, "in": 500, "e": 280, "the": 390}.items():
            typist.measured(f"s{day}", text, milliseconds)
    for text in HOSTILE:
        typist.measured("s12", text, 200)
    typist.session("keys", "2025-03-12T08:20:00Z", text="ab", keyboard_id="k2")
    for index, char in enumerate("x\bc", start=2):
        typist.key("keys", index, char)
        typist.tables["session_keystrokes"][-1] |= {"expected_char": "c", "text_index": 2}
    typist.session("many", "2025-03-12T08:30:00Z", text="", user_id="u2", keyboard_id="k3")
    for number in range(MANY):
        typist.measured("many", f"{number:04}", 100 + number)
    for day in (4, 5, 6, 7, 8, 9, 10, 12):
        typist.run(f"2025-03-{day:02}-08:00")
    publish(typist.lake, typist.resources.settings.database)
    return typist.resources.settings


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def origin(world: Settings) -> Iterator[str]:
    with served(world) as client:
        yield address(client)


@pytest.fixture(scope="module")
def guarded_origin(world: Settings) -> Iterator[str]:
    """A server that asks for a token."""
    with served(settings(world.local, token_key=KEY)) as client:
        yield address(client)


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Visitor]:
    """Opens pages, and looks afterwards whether they did what no page should."""
    visits: list[Visit] = []

    def visit(origin: str, **look: object) -> Visit:
        visits.append(Visit(browser, origin, **look))  # type: ignore[arg-type]
        return visits[-1]

    yield visit
    for one in visits:
        one.context.close()
    assert [fault for one in visits for fault in one.faults] == []


@pytest.fixture(scope="module")
def kept_tab(browser: Browser, origin: str) -> Iterator[Visit]:
    visit = Visit(browser, origin)
    yield visit
    visit.context.close()


@pytest.fixture
def tab(kept_tab: Visit) -> Iterator[Visit]:
    """One tab for all tests that need no other look: a new one costs as much as a test."""
    yield kept_tab
    faults, kept_tab.faults = kept_tab.faults, []
    assert faults == []


@pytest.fixture
def desk(tab: Visit) -> Page:
    """The heat map of `u1` on `k1`, loaded anew."""
    return opened(tab, user="u1", keyboard="k1")


def address(client: httpx.Client) -> str:
    return str(client.base_url).rstrip("/")


def opened(visit: Visit, **query: str) -> Page:
    page = visit.open(**query)
    expect(page.locator(OPEN).first).to_be_visible()
    return page


def tile(page: Page, text: str) -> Locator:
    return page.locator(OPEN, has=page.get_by_text(text, exact=True))


def style(of: Locator, name: str, pseudo: str = "") -> str:
    found: str = of.evaluate(
        "(element, [name, pseudo]) => getComputedStyle(element, pseudo || null)[name]", [name, pseudo]
    )
    return found


def rgb(colour: str) -> str:
    return f"rgb({', '.join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))})"


def query(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


def find(page: Page, text: str) -> None:
    page.get_by_label("Find").fill(text)


def test_a_tile_has_the_colour_of_its_category(desk: Page) -> None:
    colours = [style(tile(desk, text), "backgroundColor") for text in ("he", "th", "in")]
    assert colours == [rgb(CATEGORY_COLORS[category]) for category in ("green", "amber", "grey")]


def test_a_second_cue_tells_the_categories_apart(desk: Page) -> None:
    discs = {style(tile(desk, text).locator(".wpm"), "background", "::before") for text in ("he", "th", "in")}
    assert len(discs) == 3


def test_a_screen_reader_hears_category_and_figures(desk: Page) -> None:
    assert tile(desk, "th").get_attribute("aria-label") == (
        "th: close to the target, 33.7 words per minute, 356 ms per keystroke, 84 % of the target, 3 measurements"
    )


@pytest.mark.parametrize("reached", ["hover", "focus"])
def test_figures_of_a_tile_are_shown_on_hover_and_on_focus(desk: Page, reached: str) -> None:
    if reached == "hover":
        tile(desk, "in").hover()
    else:
        desk.get_by_role("link", name="Skip to the heat map").press("Enter")
        expect(tile(desk, "in")).to_be_focused()
    expect(desk.locator("#readout dd")).to_have_text(["24", "500", "60 %"])
    expect(desk.locator("#readout .keycap")).to_have_text("in")


def test_the_slowest_come_first_and_ties_by_text(tab: Visit) -> None:
    page = opened(tab, user="u1", keyboard="k1", size="2")
    assert ngrams(page) == ["in", "th", "he"]


def test_the_order_can_be_turned_round(desk: Page) -> None:
    desk.get_by_label("Size").select_option("2")
    desk.get_by_label("Order").select_option("Fastest first")
    expect(desk.locator(OPEN).first).to_contain_text("he")
    assert ngrams(desk) == ["he", "th", "in"]


def test_filters_leave_what_passes_all_of_them(desk: Page) -> None:
    find(desk, "H")
    assert sorted(ngrams(desk)) == ["he", "th", "the"]
    desk.get_by_role("radio", name="Off target").check()
    assert sorted(ngrams(desk)) == ["th", "the"]
    desk.get_by_label("Size").select_option("3")
    assert ngrams(desk) == ["the"]


def test_every_performance_filter(desk: Page) -> None:
    left = {}
    for label in ("All", "Off target", "On target", "Close", "Far off"):
        desk.get_by_role("radio", name=label).check()
        left[label] = set(ngrams(desk)) - set(HOSTILE.values())
    assert left == {
        "All": {"th", "he", "in", "e", "the"},
        "Off target": {"th", "in", "the"},
        "On target": {"he", "e"},
        "Close": {"th", "the"},
        "Far off": {"in"},
    }


def test_sizes_offered_are_those_that_exist(desk: Page) -> None:
    offered = desk.get_by_label("Size").locator("option").evaluate_all("all => all.map(one => one.value)")
    assert offered == ["", *(str(size) for size in sorted({1, 2, 3, *map(len, HOSTILE)}))]


def test_counts_follow_the_other_filters(desk: Page) -> None:
    desk.get_by_label("Size").select_option("2")
    assert desk.locator(".chips output").all_text_contents() == ["3", "2", "1", "1", "1"]


def test_filters_that_leave_nothing_say_so_and_can_be_cleared(desk: Page) -> None:
    find(desk, "zzz")
    expect(desk.get_by_text("Nothing matches these filters.")).to_be_visible()
    desk.get_by_role("button", name="Clear the filters").click()
    expect(desk.locator(OPEN)).to_have_count(5 + len(HOSTILE))


def test_the_slider_recolours_the_tiles_and_reset_brings_the_target_back(desk: Page) -> None:
    slider = desk.get_by_label("Target, ms per key", exact=True)
    assert slider.input_value() == "300"
    slider.fill("600")
    expect(tile(desk, "in")).to_have_class("tile green")
    assert query(desk)["target"] == "600"
    assert desk.get_by_label("Target, ms per key, as a number").input_value() == "600"
    desk.get_by_role("button", name="Reset to 300").click()
    expect(tile(desk, "in")).to_have_class("tile grey")
    assert "target" not in query(desk)


def test_a_question_that_has_been_overtaken_is_given_up(visitor: Visitor, origin: str) -> None:
    page = opened(visitor(origin), user="u1", keyboard="k1")
    page.route("**/heatmap*target_speed_ms=600*", lambda _route: None)
    slider = page.get_by_label("Target, ms per key", exact=True)
    with page.expect_request("**/heatmap*target_speed_ms=600*"):
        slider.fill("600")
    with page.expect_event("requestfailed", lambda request: "target_speed_ms=600" in request.url):
        slider.fill("900")
    expect(tile(page, "in")).to_have_class("tile green")
    assert query(page)["target"] == "900"


def test_a_typed_target_counts_as_well(desk: Page) -> None:
    desk.get_by_label("Target, ms per key, as a number").fill("2500.5")
    expect(tile(desk, "in")).to_have_class("tile green")


def test_a_keyboard_alone_reaches_moves_chooses_and_closes(desk: Page) -> None:
    find(desk, "h")
    desk.get_by_label("Size").select_option("2")
    desk.keyboard.press("Tab")
    for _ in range(10):
        if desk.evaluate("document.activeElement.classList.contains('tile')"):
            break
        desk.keyboard.press("Tab")
    expect(tile(desk, "th")).to_be_focused()
    assert style(tile(desk, "th"), "outlineStyle") == "solid"
    desk.keyboard.press("ArrowRight")
    expect(tile(desk, "he")).to_be_focused()
    desk.keyboard.press("Home")
    desk.keyboard.press("Enter")
    expect(desk.get_by_role("heading", name="Progress on th")).to_be_visible()
    expect(tile(desk, "th")).to_be_focused()
    desk.keyboard.press("Escape")
    expect(desk.locator("#trend")).to_be_hidden()


def test_arrows_move_by_rows_and_the_tab_key_stops_once(tab: Visit) -> None:
    page = opened(tab, user="u2")
    page.locator(OPEN).first.focus()
    page.keyboard.press("ArrowDown")
    down = page.evaluate("document.activeElement.getBoundingClientRect().toJSON()")
    first = page.locator(OPEN).first.bounding_box()
    assert first is not None
    assert (down["x"], down["y"] > first["y"]) == (first["x"], True)
    page.keyboard.press("ArrowUp")
    expect(page.locator(OPEN).first).to_be_focused()
    assert page.locator('.tile[tabindex="0"]').count() == 1


def test_a_row_down_and_up_again_leads_back_also_over_a_wide_tile(desk: Page) -> None:
    desk.set_viewport_size({"width": 360, "height": 800})
    for text in ngrams(desk)[:4]:
        desk.locator(OPEN).nth(ngrams(desk).index(text)).focus()
        desk.keyboard.press("ArrowDown")
        expect(desk.locator(OPEN).nth(ngrams(desk).index(text))).not_to_be_focused()
        desk.keyboard.press("ArrowUp")
        expect(desk.locator(OPEN).nth(ngrams(desk).index(text))).to_be_focused()
    desk.set_viewport_size({"width": 1280, "height": 900})


def test_two_thousand_tiles_are_there_and_the_last_can_be_reached(tab: Visit) -> None:
    page = opened(tab, user="u2")
    expect(page.locator("#shown")).to_contain_text("2,000 combinations")
    page.locator(OPEN).first.focus()
    page.keyboard.press("End")
    expect(page.locator(".tile")).to_have_count(MANY)
    last = page.locator(".tile").last
    expect(last).to_be_focused()
    expect(last).to_be_in_viewport()
    expect(last).to_contain_text("0000")


def test_only_tiles_near_those_seen_are_drawn(visitor: Visitor, origin: str) -> None:
    page = opened(visitor(origin, width=320, height=700), user="u2")
    tiles = page.locator(".tile")
    first = tiles.count()
    assert 0 < first <= MANY // 4
    assert page.evaluate("document.documentElement.scrollHeight") < 3_000
    page.locator("#tiles").evaluate("box => box.scrollTo(0, box.scrollHeight)")
    expect(tiles).not_to_have_count(first)
    expect(tiles.nth(first)).to_have_attribute("aria-posinset", str(first + 1))
    expect(tiles.first).to_have_attribute("aria-setsize", str(MANY))


def test_a_link_to_a_combination_far_down_draws_and_marks_it(visitor: Visitor, origin: str) -> None:
    page = opened(visitor(origin), user="u2", keyboard="k3", ngram="4:0100")
    expect(tile(page, "0100")).to_have_attribute("aria-selected", "true")


def test_old_data_is_marked_as_out_of_date(desk: Page) -> None:
    expect(desk.locator("#clock")).to_have_text("Data from 12 Mar 2025, 09:00 UTC (out of date)")


def test_a_chosen_n_gram_shows_its_progress(desk: Page) -> None:
    tile(desk, "th").click()
    trend = desk.get_by_role("region", name="Progress on th")
    expect(trend.get_by_role("img")).to_have_accessible_name(
        "th: from 400 ms per keystroke on 9 Mar 2025 to 356 on 12 Mar 2025; the target is 300"
    )
    expect(trend.locator("circle.point")).to_have_count(3)
    expect(trend).to_contain_text("target 300")
    expect(trend).to_contain_text("No clear trend yet, over 3 sessions.")
    expect(trend).not_to_contain_text("At this pace")
    expect(trend).to_contain_text("Best ever: 356 ms (33.7 WPM) on 12 Mar 2025.")
    trend.locator("summary").click()
    expect(trend.locator("tbody tr")).to_have_count(3)
    assert query(desk)["ngram"] == "2:th"


def test_a_clear_trend_says_how_fast_it_is_and_how_far_the_target(tab: Visit) -> None:
    page = opened(tab, user="u3", keyboard="k4")
    tile(page, "th").click()
    trend = page.get_by_role("region", name="Progress on th")
    expect(trend).to_contain_text(re.compile(r"Gets faster by [\d.]+ ms a day \(r² [\d.]+\)\."))
    expect(trend).to_contain_text(re.compile(r"reach the 300 ms target in about \d+ more sessions"))


def test_closing_the_progress_panel_returns_to_the_tile(desk: Page) -> None:
    tile(desk, "th").click()
    desk.get_by_role("button", name="Close").click()
    expect(desk.locator("#trend")).to_be_hidden()
    expect(tile(desk, "th")).to_be_focused()


def test_what_to_practise_begins_with_what_costs_most(desk: Page) -> None:
    practice = desk.get_by_role("region", name="What to practise")
    first = practice.locator(".costs button").first
    expect(first).to_have_accessible_name("in: 600 ms above the target in 3 measurements")
    expect(practice.get_by_role("img")).to_have_accessible_name(re.compile("newest 3 sessions, oldest first: from 3 "))
    first.click()
    expect(desk.get_by_role("heading", name="Progress on in")).to_be_visible()


def test_mistakes_name_the_key_that_was_meant(tab: Visit) -> None:
    page = opened(tab, user="u1", keyboard="k2")
    expect(page.locator(".mistakes li")).to_have_text([re.compile("c\\s*typed as\\s*x\\s*1\N{MULTIPLICATION SIGN}")])


def test_the_keyboard_can_be_chosen_by_its_name(desk: Page) -> None:
    picker = desk.get_by_label("Keyboard")
    assert picker.locator("option").all_text_contents() == ["Desk · 13 combinations", "<b>Lap</b> · 3 combinations"]
    picker.select_option("k2")
    expect(desk.locator(OPEN)).to_have_count(3)
    assert query(desk)["keyboard"] == "k2"


def test_the_most_practised_keyboard_is_shown_first(tab: Visit) -> None:
    assert query(opened(tab, user="u1"))["keyboard"] == "k1"


def test_the_address_keeps_the_view_and_back_returns_to_the_one_before(desk: Page) -> None:
    find(desk, "h")
    desk.get_by_label("Order").select_option("Fastest first")
    tile(desk, "th").click()
    expect(desk.get_by_role("heading", name="Progress on th")).to_be_visible()
    desk.reload()
    expect(desk.get_by_role("heading", name="Progress on th")).to_be_visible()
    assert ngrams(desk) == ["he", "th", "the"]
    desk.go_back()
    expect(desk.locator("#trend")).to_be_hidden()
    desk.go_back()
    expect(desk.get_by_label("Order")).to_have_value("worst_to_best")
    expect(desk.locator(OPEN).first).to_contain_text("the")


def test_a_hostile_n_gram_is_a_text_like_any_other(desk: Page) -> None:
    for text, said in HOSTILE.items():
        desk.locator(OPEN).nth(ngrams(desk).index(said)).click()
        expect(desk.locator("#trend-title .keycap")).to_have_text(said)
        expect(desk.locator("#trend circle.point")).to_have_count(1)
        assert query(desk)["ngram"] == f"{len(text)}:{text}"
    assert desk.locator("script:not([src]), .board b b, .board script").count() == 0


def test_what_has_no_glyph_is_marked_as_a_code(desk: Page) -> None:
    assert desk.locator(".tile .code").all_text_contents() == ["U+0007", "U+202E"]


@pytest.mark.parametrize("width", [320, 360])
def test_a_phone_never_scrolls_sideways(visitor: Visitor, origin: str, width: int) -> None:
    page = opened(visitor(origin, width=width, height=800), user="u1", keyboard="k1", target="299", ngram="2:th")
    page.locator("#trend summary").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#trend").evaluate("element => element.scrollWidth <= element.clientWidth")


def test_on_a_phone_the_progress_panel_opens_where_it_was_chosen(visitor: Visitor, origin: str) -> None:
    page = opened(visitor(origin, width=360, height=800), user="u2")
    page.locator(".tile").nth(150).scroll_into_view_if_needed()
    page.locator(".tile").nth(150).click()
    expect(page.locator("#trend")).to_be_in_viewport()


def test_dark_mode_turns_the_page_dark_and_leaves_the_tiles(visitor: Visitor, origin: str) -> None:
    page = opened(visitor(origin, color_scheme="dark"), user="u1", keyboard="k1")
    assert style(page.locator("body"), "backgroundColor") == "rgb(14, 18, 24)"
    assert style(tile(page, "in"), "backgroundColor") == rgb(CATEGORY_COLORS["grey"])


FAINT = """elements => {
  const channels = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [red, green, blue] = channels(colour).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (element) => {
    let behind = element;
    while (channels(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
    const both = [light(getComputedStyle(element).color), light(getComputedStyle(behind).backgroundColor)];
    return (Math.max(...both) + 0.05) / (Math.min(...both) + 0.05);
  };
  return elements.filter((element) => contrast(element) < 4.5).map((element) => element.outerHTML);
}"""
"""The elements whose text stands out by less than WCAG AA asks."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_texts_stand_out_from_what_is_behind_them(visitor: Visitor, origin: str, theme: str) -> None:
    page = opened(visitor(origin, color_scheme=theme), user="u1", keyboard="k1", target="299", ngram="2:th")
    expect(page.locator("#trend summary")).to_be_visible()
    texts = "h1, h2, h3, label, output, .quiet, .button, .ngram, .wpm, .keycap, .facts li, summary, .amount, dt, dd"
    assert page.locator(texts).count() > 60
    assert page.locator(texts).evaluate_all(FAINT) == []


def test_who_prefers_less_motion_gets_none(visitor: Visitor, origin: str) -> None:
    page = opened(visitor(origin, reduced_motion="reduce"), user="u1", keyboard="k1")
    waiting = page.locator("#tiles")
    waiting.evaluate("element => element.classList.add('loading')")
    assert style(waiting, "animationName") == "none"


def test_without_a_user_the_page_asks_for_one(tab: Visit) -> None:
    page = tab.open()
    expect(page.get_by_role("heading", name="Whose typing?")).to_be_visible()
    page.get_by_label("User").fill("u1")
    page.get_by_role("button", name="Show").click()
    expect(page.locator(OPEN)).to_have_count(5 + len(HOSTILE))
    assert query(page)["user"] == "u1"


@pytest.mark.parametrize("known", [{"user": "nobody"}, {"user": "u1", "keyboard": "none"}])
def test_an_unknown_user_or_keyboard_has_nothing_measured(tab: Visit, known: dict[str, str]) -> None:
    page = tab.open(**known)
    expect(page.get_by_role("heading", name="Nothing measured")).to_be_visible()
    expect(page.locator("#board")).to_be_hidden()


def test_an_n_gram_that_is_not_measured_is_said_to_be_none(tab: Visit) -> None:
    page = opened(tab, user="u1", keyboard="k1", ngram="2:zz")
    expect(page.locator("#trend")).to_contain_text("is not measured on this keyboard")


def test_nothing_published_is_explained(visitor: Visitor, tmp_path: Path) -> None:
    with served(settings(tmp_path)) as client:
        page = visitor(address(client)).open(user="u1")
        expect(page.get_by_role("heading", name="Nothing has been published yet")).to_be_visible()
        expect(page.get_by_role("button", name="Try again")).to_be_visible()


def test_a_server_that_is_gone_can_be_tried_again(visitor: Visitor, origin: str) -> None:
    page = opened(visitor(origin), user="u1", keyboard="k1")
    page.context.set_offline(offline=True)
    page.get_by_label("Order").select_option("Fastest first")
    expect(page.get_by_role("heading", name="The server cannot be reached")).to_be_visible()
    page.context.set_offline(offline=False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator(OPEN).first).to_be_visible()


def test_a_stopped_server_is_not_reached(visitor: Visitor, world: Settings) -> None:
    with ExitStack() as running:
        page = opened(visitor(address(running.enter_context(served(world)))), user="u1", keyboard="k1")
        running.close()
        page.get_by_label("Order").select_option("Fastest first")
        expect(page.get_by_role("heading", name="The server cannot be reached")).to_be_visible()


def test_a_token_is_asked_for_and_kept_in_the_tab_only(visitor: Visitor, guarded_origin: str) -> None:
    page = visitor(guarded_origin).open(user="u1", keyboard="k1")
    expect(page.get_by_role("heading", name="This server asks for a token")).to_be_visible()
    token = bearer("u1")["Authorization"].removeprefix("Bearer ")
    page.get_by_label("Token").fill(token)
    page.get_by_role("button", name="Use it").click()
    expect(page.locator(OPEN).first).to_be_visible()
    assert (token in page.url, page.evaluate("localStorage.length"), page.evaluate("document.cookie")) == (False, 0, "")
    page.reload()
    expect(page.locator(OPEN).first).to_be_visible()
    page.get_by_role("button", name="Forget the token").click()
    expect(page.get_by_role("heading", name="This server asks for a token")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


@pytest.mark.parametrize("known", [{}, {"user": "u1", "keyboard": "k1"}], ids=["nothing", "everything"])
def test_a_token_in_the_fragment_names_the_user_and_leaves_the_address(
    visitor: Visitor, guarded_origin: str, known: dict[str, str]
) -> None:
    token = bearer("u1")["Authorization"].removeprefix("Bearer ")
    page = visitor(guarded_origin).open(f"#token={token}", **known)
    expect(page.locator(OPEN).first).to_be_visible()
    assert (query(page)["user"], token in page.url) == ("u1", False)


@pytest.mark.parametrize(
    ("header", "title"),
    [
        (bearer("u2"), "The token is another user's"),
        (bearer("u1", seconds=-60), "This server asks for a token"),
        ({"Authorization": "Bearer nonsense"}, "This server asks for a token"),
    ],
    ids=["another user's", "expired", "nonsense"],
)
def test_an_invalid_token_is_explained(
    visitor: Visitor, guarded_origin: str, header: dict[str, str], title: str
) -> None:
    page = visitor(guarded_origin).open(f"#token={header['Authorization'].removeprefix('Bearer ')}", user="u1")
    expect(page.get_by_role("heading", name=title)).to_be_visible()
    expect(page.get_by_label("Token")).to_be_focused()


@pytest.mark.parametrize("path", ["/", "/main.js", "/style.css", "/icon.svg"])
def test_every_file_of_the_page_says_what_it_may_load(origin: str, path: str) -> None:
    headers = httpx.get(origin + path).headers
    assert "default-src 'self'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
