"""What qemu.qmp does under one condition of the README's table of clients. Prints the cell of the table."""

import asyncio
import sys

from qemu.qmp import ConnectError, QMPClient, Runstate


class Loop(asyncio.SelectorEventLoop):
    """Counts the timers, and so the timeouts, that anything sets."""

    timers = 0

    def call_at(self, *arguments, **keywords):
        self.timers += 1
        return super().call_at(*arguments, **keywords)


async def receive(client, events, expected):
    event = await events.get()
    assert event["event"] == expected, event
    return "delivered, as a `dict`"


async def restart(client, events):
    await client.execute("query-status")
    waiting = asyncio.ensure_future(events.get())
    while client.runstate != Runstate.DISCONNECTING:
        await client.runstate_changed()
    try:
        await client.disconnect()
    except EOFError:
        pass
    assert client.runstate == Runstate.IDLE
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()
    return "a waiting `get` never returns; the program connects again"


async def no_reply(client, events):
    loop = asyncio.get_running_loop()
    before = loop.timers
    reply = asyncio.ensure_future(client.execute("query-status"))
    await events.get()
    assert loop.timers == before and not reply.done()
    reply.cancel()
    return "waits, unless the program sets a timeout"


async def unread(client, events):
    await client.execute("query-status")
    kept = len(events.clear())
    assert kept == 20_000, kept
    return "all are kept in memory"


async def main(path, condition):
    client = QMPClient("test")
    with client.listener() as events:
        try:
            await client.connect(path)
        except ConnectError:
            return "connecting fails"
        match condition:
            case "UnknownEvent":
                return await receive(client, events, "OF_TOMORROW")
            case "OlderEvent":
                return await receive(client, events, "RTC_CHANGE")
            case "BeforeGreeting" | "WhileNegotiating":
                return await receive(client, events, "STOP")
            case "Restart":
                return await restart(client, events)
            case "NoReply":
                return await no_reply(client, events)
            case "Unread":
                return await unread(client, events)


loop = Loop()
print(loop.run_until_complete(main(*sys.argv[1:])))
