"""The sizes that docs/scaling.md lists follow from what was measured."""

from tests.tools import sizes


def test_the_page_has_the_table_of_today():
    text = sizes.PAGE.read_text(encoding="utf-8")
    assert len(sizes.TABLES.findall(text)) == 2
    assert sizes.page() == text


def test_a_run_is_as_many_events_as_its_tokens_and_layers():
    assert "| Mixtral-8x7B, 32 x top-2 | 1,000,000 | 16 G | 211 GB |" in sizes.table()
