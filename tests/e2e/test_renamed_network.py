"""A network gets another name while a client is up: its connector stays the one it is, and so does everything else."""
from __future__ import annotations

from support.netns import wait_for
from support.tg import PEOPLE, RESOURCES, Tg
from test_live_changes import SOON, changing      # noqa: F401


def test_new_flows_work_soon_after_a_network_was_renamed_and_named_back(changing: Tg) -> None:      # noqa: F811
    """The client's new grant and the connector's new network come by two control streams, in either order: over some
    renamings both are tried. A grant that came first is not lost."""
    renamed = (PEOPLE + RESOURCES).replace('"home"', '"house"')
    assert '"home"' not in renamed
    for turn in range(6):
        policy = renamed if turn % 2 == 0 else PEOPLE + RESOURCES
        changing.apply(policy, "--prune").ok()
        wait_for(f"renaming {turn}: flows work", changing.works, SOON, explain=changing.explain)
