"""A fault in the way of a run: what readers see after it, and that the same run again repairs it."""

import random
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

from ghost_pipeline.contracts.staleness import STALE_HOURS, STALE_MONTHS
from ghost_pipeline.errors import GhostError
from ghost_pipeline_tests.crashes.faults import DEADLY, DiedError, Fault, Faults
from ghost_pipeline_tests.crashes.scenarios import Scenario
from ghost_pipeline_tests.crashes.world import World


@dataclass(frozen=True)
class Trial:
    """A scenario, its world as it is before the run, and what an undisturbed run makes of it."""

    scenario: Scenario
    folder: Path

    @cached_property
    def prepared(self) -> World:
        """The world before the run; nothing changes it."""
        return self.scenario.prepare(self.folder / "before")

    @cached_property
    def undisturbed(self) -> Faults:
        """What an undisturbed run does."""
        faults = Faults(self.after.folder)
        with faults.installed():
            self.scenario.act(self.after)
        return faults

    @cached_property
    def after(self) -> World:
        """The world after an undisturbed run, once it has been watched."""
        return self._copy(self.folder / "after")

    @cached_property
    def allowed(self) -> dict[str, set[str | None]]:
        """Of every file what a reader may find in its place: what was there, and what an undisturbed run puts there."""
        before = self.prepared.state()
        contents = {
            str(Path(name).relative_to(self.after.data)): set(found) for name, found in self._contents().items()
        }
        return {name: contents.get(name, set()) | {before.get(name)} for name in before.keys() | contents.keys()}

    @property
    def operations(self) -> int:
        """How many operations an undisturbed run has."""
        return len(self.undisturbed.operations)

    def meet(self, fault: Fault, at: int, chance: random.Random) -> None:
        """Put a fault in the way of operation `at`, look at what is there, run again, and compare."""
        assert self.undisturbed
        with TemporaryDirectory(dir=self.folder) as folder:
            world = self._copy(Path(folder) / "world")
            self._disturbed(world, fault, at)
            self._see(world)
            if fault in DEADLY and chance.random() < 1 / 3:
                # Who repairs may die, too.
                self._disturbed(world, fault, chance.randrange(self.operations))
                self._see(world)
            self.scenario.act(world)
            assert world.state() == self.after.state()
            assert world.published() == self.after.published()
            assert world.leftovers() == []

    def _disturbed(self, world: World, fault: Fault, at: int) -> None:
        faults = Faults(world.folder, at, fault)
        try:
            with faults.installed():
                self.scenario.act(world)
        except DiedError:
            assert fault in DEADLY
        except GhostError as error:
            # One line that names the place, and says what to do.
            text = str(error)
            assert fault not in DEADLY
            assert "\n" not in text
            assert str(world.data) in text
            assert "run again" in text.lower()
        else:
            # It did not come to the operation, or what failed was of no use to anybody.
            assert not (faults.met and fault in DEADLY), faults.operations[-1]

    def _see(self, world: World) -> None:
        """Every file is one of those that a reader may find.

        In the ledgers stands what is being built: after a second death other partitions than undisturbed.
        """
        ledgers = (STALE_HOURS, STALE_MONTHS)

        def is_ledger(name: str) -> bool:
            return any(ledger.name in name for ledger in ledgers)

        state = {name: found for name, found in world.state().items() if not is_ledger(name)}
        for name, allowed in self.allowed.items():
            assert state.get(name) in allowed or is_ledger(name), f"{name}: neither as before nor as after"
        assert state.keys() <= self.allowed.keys()
        for ledger in ledgers:
            ledger.require(world.resources().lake.scan(ledger).collect(), "all")
        assert world.published() in (self.prepared.published(), self.after.published())

    def _contents(self) -> dict[str, set[str | None]]:
        return {name: found for name, found in self.undisturbed.contents.items() if self._counts(Path(name))}

    def _counts(self, file: Path) -> bool:
        is_partition = file.suffix == ".parquet"
        return file.is_relative_to(self.after.data) and (
            is_partition or (file.suffix == ".json" and file.parent == self.after.data)
        )

    def _copy(self, folder: Path) -> World:
        shutil.copytree(self.prepared.folder, folder)
        return World(folder)
