"""Fakes of every port, and the laws of every port as tests. Shipped: authors of drivers run the same suites.

    from penstock.testing.contracts import JournalContract

    class TestMyJournal(JournalContract):
        @pytest.fixture(autouse=True)
        def place(self, tmp_path): self.path = tmp_path / "journal"
        def open_journal(self, clock): return MyJournal(self.path, clock)
        def start_newer_term(self): ...
        @contextmanager
        def unwritable(self): ...

The hooks of a suite stand in its docstring; pytest collects the subclass, pytest-asyncio must be in `auto` mode. For
assertions that explain themselves, `pytest.register_assert_rewrite("penstock.testing.contracts")` in a conftest.py.
"""
