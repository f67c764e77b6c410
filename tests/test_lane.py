"""A reading process and its keeper, with a set of hostile templates beside a good one, in real processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

import gateway.lane
from gateway.lane import Lane, reader_environ
from gateway.models import Integration, Message
from gateway.reader import Job, Reply, pack

pytestmark = pytest.mark.anyio

HOSTILE = Path(__file__).parent / "hostile_plugins"
DEADLINE = 0.5
KILLED = "killed"


def job(number: int, template: str, do: str) -> Job:
    """A message for a template."""
    body = msgspec.json.encode({"do": do, "id": str(number), "status": "down"})
    message = Message(id=number, endpoint_id=f"end_{template}", received_at=0, body=body)
    integration = Integration(
        id=f"int_{template}",
        endpoint_id=f"end_{template}",
        name=template,
        template=template,
        created_at=0,
        updated_at=0,
    )
    return Job(message, integration)


@asynccontextmanager
async def a_lane(plugins: Path = HOSTILE, deadline: float = DEADLINE, **environ: str) -> AsyncIterator[Lane]:
    """A lane that is stopped at the end."""
    settings = {
        "PATH": os.environ.get("PATH", ""),
        "GATEWAY_PLUGINS_DIR": str(plugins),
        "GATEWAY_LOG_LEVEL": "error",
        **environ,
    }
    lane = Lane(reader_environ(settings), deadline=deadline)
    try:
        yield lane
    finally:
        await lane.stop()


def alive(pid: int) -> bool:
    """Whether this process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def check(cases: Sequence[tuple[str, str, str]], jobs: Sequence[Job], replies: Sequence[Reply]) -> None:
    """Every job has its reply, every good one was read, every other one is as its case says."""
    assert [reply.message_id for reply in replies] == [job.message.id for job in jobs]
    problems = []
    hostile = iter(cases)
    for one, reply in zip(jobs, replies, strict=True):
        if one.integration.template == "good":
            template, do, words = "good", "", ""
        else:
            template, do, words = next(hostile)
        wants_killed = words.startswith(KILLED)
        wants_error = words.removeprefix(KILLED).strip()
        if reply.killed is not wants_killed or wants_error not in (reply.error or "") or (not words and reply.error):
            problems.append(f"{template} {do}: killed={reply.killed} error={reply.error!r}, wanted {words!r}")
        if not words and not reply.readings:
            problems.append(f"{template} {do}: nothing was read")
    assert not problems, "\n".join(problems)


def between_good_ones(cases: Sequence[tuple[str, str, str]]) -> list[Job]:
    """A good message before, between and after the hostile ones."""
    jobs = [job(1, "good", "")]
    for template, do, _ in cases:
        jobs += [job(len(jobs) + 1, template, do), job(len(jobs) + 2, "good", "")]
    return jobs


HANGING = [
    ("hangs", "loop", "killed reading it took over 0.5 s"),
    ("hangs", "sleep", "killed reading it took over"),
    ("hangs", "interpreter", "killed reading it took over"),
    ("hangs", "pattern", "killed reading it took over"),
    ("hangs", "silence", "killed reading it took over"),
    ("hangs-at-import", "", "killed reading it took over"),
]
DYING = [
    ("dies", "exit", "raised SystemExit: 4"),
    ("dies", "leaving", "killed the process that read it ended (exit code 0)"),
    ("dies", "kill", "killed the process that read it ended (signal 9)"),
    ("dies", "killing_the_group", "killed the process that read it ended (signal 9)"),
    ("dies", "abort", "killed the process that read it ended (signal 6)"),
    ("dies", "wild_pointer", "killed the process that read it ended (signal 11)"),
    ("dies", "closed_files", "killed the process that read it ended"),
    ("dies-at-import", "", "killed the process that read it ended (exit code 0)"),
    ("raises-at-import", "", "SystemExit: 5"),
]
EATING = [
    ("eats", "at_once", "killed reading it took more memory than a template may have"),
    ("eats", "bit_by_bit", "killed "),
    *[("eats", "leak", "")] * 12,
    ("eats", "files", "Too many open files"),
    ("eats", "threads", ""),
    ("eats", "disk", "File too large"),
]
MEDDLING = [
    ("meddles", "prints", ""),
    ("meddles", "mutates", ""),
    ("meddles", "moves", ""),
    ("meddles", "forks", ""),
    ("meddles", "forks", ""),
    ("meddles", "leaves_a_child", ""),
    ("meddles", "starts_a_program", ""),
    ("garbage", "million", "more than 10000 events"),
    ("garbage", "huge_subject", ""),
    ("garbage", "surrogates", ""),
    ("garbage", "coroutine", "gave a coroutine"),
    ("raises", "RecursionError", "RecursionError"),
    ("raises", "KeyboardInterrupt", "KeyboardInterrupt"),
    ("raises", "WithoutTextError", "its text could not be had"),
    ("raises", "UnreadableWithoutTextError", "its text could not be had"),
    ("raises", "surrogates", "ValueError"),
]


@pytest.mark.parametrize("cases", [HANGING, DYING, EATING, MEDDLING], ids=["hanging", "dying", "eating", "meddling"])
async def test_every_job_has_its_reply_and_the_good_ones_are_read(cases: list[tuple[str, str, str]]) -> None:
    jobs = between_good_ones(cases)
    # Memory is counted as address space: what the interpreter maps for itself is in it.
    async with a_lane(deadline=DEADLINE if cases is HANGING else 20, GATEWAY_READ_MEMORY=str(512 << 20)) as lane:
        check(cases, jobs, await lane.read(jobs))
        assert lane.kills == (len(HANGING) if cases is HANGING else 0)
        last = await lane.read([job(900, "good", "")])
        assert last[0].readings


async def test_it_can_be_asked_to_stop_at_the_first_that_is_killed() -> None:
    jobs = [job(1, "good", ""), job(2, "raises", "ValueError"), job(3, "dies", "kill"), job(4, "good", "")]
    async with a_lane() as lane:
        replies = await lane.read(jobs, until_killed=True)
        assert [reply.killed for reply in replies] == [False, False, True]
        assert (await lane.read(jobs[3:], until_killed=True))[0].readings


async def test_children_of_a_template_end_with_its_process() -> None:
    async with a_lane() as lane:
        await lane.read([job(1, "meddles", "leaves_a_child"), job(2, "meddles", "starts_a_program")])
        group = lane.pid
        assert group is not None
        members = members_of(group)
        assert len(members) == 3
        await lane.stop()
        async with asyncio.timeout(10):
            while any(alive(pid) for pid in members):  # there is no event for it
                await asyncio.sleep(0.01)


def members_of(group: int) -> list[int]:
    """The processes of a group that there are."""
    return [int(path.name) for path in Path("/proc").glob("[0-9]*") if _group(path) == group]


def _group(process: Path) -> int | None:
    try:
        return int((process / "stat").read_text().rsplit(")", 1)[1].split()[2])
    except OSError:
        return None


async def test_a_process_that_is_killed_between_two_batches_is_replaced() -> None:
    async with a_lane() as lane:
        await lane.start()
        first = lane.pid
        assert first is not None
        assert (await lane.read([job(1, "good", "")]))[0].readings
        assert lane.pid == first
        os.kill(first, 9)
        replies = await lane.read([job(2, "good", ""), job(3, "good", "")])
        # Whether the loop heard of the death before it sent the job is a matter of chance; the message is tried again then.
        assert [reply.message_id for reply in replies] == [2, 3]
        assert replies[1].readings
        assert lane.pid != first


async def test_an_answer_that_was_not_asked_for_is_not_taken_for_another() -> None:
    async with a_lane() as lane:
        await lane.start()
        connection = lane._connection
        assert connection is not None
        connection.replies.append(Reply(1, error="stray"))
        replies = await lane.read([job(2, "good", "")])
        assert [(reply.message_id, reply.error) for reply in replies] == [(2, None)]


async def test_a_process_that_answers_for_another_message_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async with a_lane() as lane:
        await lane.start()
        pid = lane.pid
        jobs = [job(2, "good", ""), job(3, "good", "")]
        monkeypatch.setattr("gateway.lane.pack", lambda sent: pack(Job(jobs[1].message, sent.integration)))
        replies = await lane.read(jobs, until_killed=True)
        assert [(reply.message_id, reply.killed) for reply in replies] == [(2, True)]
        assert "answered for message 3" in (replies[0].error or "")
        assert lane.pid != pid


async def test_nothing_to_read_needs_no_process() -> None:
    async with a_lane() as lane:
        assert await lane.read([]) == []
        assert lane.pid is None


async def test_stopping_ends_the_process_and_a_cancelled_read_leaves_none() -> None:
    async with a_lane(deadline=30) as lane:
        await lane.start()
        pid = lane.pid
        assert pid is not None
        reading = asyncio.create_task(lane.read([job(1, "hangs", "sleep")]))
        await asyncio.sleep(0.05)
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await reading
        await lane.stop()
        assert lane.pid is None
        assert not alive(pid)
        await lane.stop()


async def test_a_process_that_does_not_start_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gateway.lane, "_START_PAUSE", 0.01)
    once = tmp_path / "once"
    (tmp_path / "plugin.py").write_text(
        f"import os, pathlib\nonce = pathlib.Path({str(once)!r})\nif not once.exists():\n    once.touch()\n    os._exit(3)\n"
    )
    good = tmp_path / "good"
    good.symlink_to(HOSTILE / "good")
    async with a_lane(tmp_path) as lane:
        assert (await lane.read([job(1, "good", "")]))[0].readings
    assert once.exists()
