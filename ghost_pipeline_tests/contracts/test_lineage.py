"""Where columns come from: declared beside a column, passed on by name, or nowhere."""

import dataframely as dy
import pytest

from ghost_pipeline.contracts.columns import computed_from, identifier, month_column, row_id, row_written
from ghost_pipeline.contracts.contract import Contract, Layer, Partitioning
from ghost_pipeline.contracts.lineage import Input, column_lineage


class _People(dy.Schema):
    person = computed_from(identifier("The person", primary_key=True), "source.people.person")
    name = computed_from(dy.String(description="Name"), "source.people.name")


class _Greetings(dy.Schema):
    id = row_id("person")
    month = month_column()
    person = identifier("The person greeted", primary_key=True)
    greeting = computed_from(dy.String(description="Greeting"), "people.name")
    length = computed_from(dy.Int32(description="Length of the greeting"), "greeting")
    place = computed_from(dy.String(description="From a setting"))
    written = row_written("When")


class _GreetingsBefore(_Greetings):
    place = dy.String(nullable=True, description="The same place")


def table(name: str, schema: type[dy.Schema], layer: Layer = Layer.GHOST) -> Contract:
    return Contract(name, schema, layer, Partitioning.MONTH, "one")


PEOPLE, GREETINGS = table("people", _People), table("greetings", _Greetings)
FOUND = column_lineage(GREETINGS, [PEOPLE])


@pytest.mark.parametrize(
    ("column", "inputs"),
    [
        ("person", [Input("people", "person")]),
        ("greeting", [Input("people", "name")]),
        ("length", [Input("people", "name")]),
        ("id", [Input("people", "person")]),
    ],
)
def test_a_column_has_the_inputs_that_it_declares_or_the_column_of_its_name(column: str, inputs: list[Input]) -> None:
    assert list(FOUND[column]) == inputs


@pytest.mark.parametrize("column", ["month", "place", "written"])
def test_the_clock_a_setting_and_the_partition_are_no_inputs(column: str) -> None:
    assert column not in FOUND


def test_an_input_of_the_source_names_the_table_of_the_source() -> None:
    assert column_lineage(PEOPLE, [])["name"] == (Input("source.people", "name"),)


def test_a_table_with_the_columns_of_another_passes_them_on() -> None:
    before = column_lineage(table("greetings_before", _GreetingsBefore), [GREETINGS])
    assert before["greeting"] == (Input("greetings", "greeting"),)
    assert before["id"] == (Input("greetings", "id"),)
    assert before["place"] == (Input("greetings", "place"),)


def test_a_table_about_the_pipeline_itself_has_no_lineage() -> None:
    assert column_lineage(table("greetings", _Greetings, Layer.OPERATIONS), [PEOPLE]) == {}
