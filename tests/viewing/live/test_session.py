"""A live session: simulator and dream do the same, viewers see the same, and nonsense does no harm."""

from __future__ import annotations

import base64
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest
import torch

from worldmodel.datasets.states import state_at
from worldmodel.envs.reacher import Reacher
from worldmodel.envs.renderer import Renderer, RendererConfig
from worldmodel.planning.proposal import ProposalConfig
from worldmodel.viewing.dream import Dream
from worldmodel.viewing.find import Trained
from worldmodel.viewing.latents import chart, encode_episodes, encode_frames, picture_latents
from worldmodel.viewing.live.commands import Drive, Settings
from worldmodel.viewing.live.pursuit import Goal, Pursuit
from worldmodel.viewing.live.serve import LiveServer, ServeConfig

exceptions = pytest.importorskip("websockets.exceptions")
client = pytest.importorskip("websockets.sync.client")
silence = pytest.importorskip("worldmodel.viewing.live.silence")
SEARCH = ProposalConfig().cem
Serve = Callable[[ServeConfig], AbstractContextManager[LiveServer]]


def picture(address: str) -> np.ndarray:
    """Return the pixels behind an address."""
    data = np.frombuffer(base64.b64decode(address.split(",")[1]), np.uint8)
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def until(holds: Callable[[], bool], seconds: float = 10.0) -> bool:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return holds()


def test_any_recorded_frame_can_be_started_from(viewer: Any, opened: Trained) -> None:
    episode = int(opened.held_out[0])
    recorded = opened.recording.episode(episode)
    viewer.send(type="begin-at", episode=episode, frame=6)
    shown = viewer.wait("frame", lambda frame: np.array_equal(picture(frame["real"]), recorded.frames[6]))
    latent = encode_frames(opened.model, recorded.frames[6:7], opened.compute)[0]
    dreamt = picture_latents(opened.model, latent, opened.compute)
    assert np.abs(picture(shown["dream"]).astype(int) - dreamt).max() <= 1
    assert (shown["apart"], shown["parted"], shown["since"]) == (0, None, 0)


def test_both_do_the_same_actions(viewer: Any, opened: Trained) -> None:
    """The dream on the page is the model's forecast, and the simulator's picture is the world's."""
    episode, world = opened.recording.episode(int(opened.held_out[0])), Reacher()
    viewer.send(type="pause", paused=True)
    viewer.send(type="drive", action=[0.8, -0.4])
    for _ in range(2):
        viewer.send(type="step")
    shown = viewer.wait("frame", lambda frame: frame["since"] == 2)
    assert shown["action"] == [0.8, -0.4]
    block = np.array([[0.8, -0.4]] * 2, np.float32)
    dream = Dream(model=opened.model, compute=opened.compute, visible=opened.model.most_visible)
    dream.look([encode_frames(opened.model, episode.frames[:1], opened.compute)[0]], [])
    for _ in range(2):
        dream.advance(torch.from_numpy(block))
    dreamt = picture_latents(opened.model, dream.latent, opened.compute)
    assert np.abs(picture(shown["dream"]).astype(int) - dreamt).max() <= 1

    world.set_state(state_at(episode, 0))
    for action in np.concatenate([block, block]):
        world.step(action)
    with Renderer(RendererConfig(32, 32, "top"), model=world.model) as renderer:
        real = renderer.draw(world.data)
    assert np.array_equal(picture(shown["real"]), real)
    latent = encode_frames(opened.model, real[None], opened.compute)[0]
    assert shown["apart"] > 0
    assert shown["apart"] == pytest.approx(
        float((latent - dream.latent).square().mean() / _unrelated(opened)), rel=0.02, abs=1e-3
    )


def _unrelated(opened: Trained) -> float:
    return chart(encode_episodes(opened.model, opened.recording, opened.held_out, opened.compute)).unrelated


def test_it_waits_for_the_first_action_and_looks_again_when_asked(viewer: Any, server: LiveServer) -> None:
    dreamt = server.session.frames
    time.sleep(0.3)
    assert server.session.frames == dreamt
    viewer.send(type="drive", action=[0.5, 0.0])
    viewer.wait("frame", lambda frame: frame["since"] > 5)
    viewer.send(type="pause", paused=True)
    assert viewer.wait("frame", lambda frame: frame["paused"])["apart"] > 0
    viewer.send(type="look")
    assert viewer.wait("frame", lambda frame: frame["since"] == 0)["apart"] == 0


def test_several_viewers_see_the_same(viewer: Any, connect: Callable[[], Any]) -> None:
    other = connect()
    other.wait("frame", lambda frame: frame["watching"] == 2)
    viewer.send(type="pause", paused=True)
    viewer.send(type="step")
    frames = [each.wait("frame", lambda frame: frame["since"] == 1) for each in (viewer, other)]
    assert frames[0] == frames[1]


def test_a_goal_is_planned_for_and_the_plan_is_done(viewer: Any, opened: Trained) -> None:
    episode = int(opened.held_out[0])
    viewer.send(type="recorded-goal", episode=episode, frame=4)
    goal = viewer.wait("goal")
    assert np.array_equal(picture(goal["image"]), opened.recording.episode(episode).frames[4])
    viewer.send(type="plan")
    numbers = range(1, 2 + SEARCH.rounds)
    first, *later = [viewer.wait("round", lambda message, n=number: message["number"] == n) for number in numbers]
    bests = [each["best"] for each in (first, *later)]
    assert bests == sorted(bests, reverse=True)
    assert (len(first["paths"]), len(first["elites"])) == (5, 1)  # proposals and doing nothing, then the search
    assert all((len(each["paths"]), len(each["elites"])) == (16, SEARCH.elites) for each in later)
    assert len(viewer.wait("plan")["frames"]) == 2
    outcome = viewer.wait("outcome")
    assert outcome["frames"] == 6
    assert outcome["at_goal"] == (outcome["distance"] <= Reacher.tolerance)
    assert viewer.wait("frame", lambda frame: frame["doing"] == "ready")["distance"] == outcome["distance"]


def test_a_pursuit_can_be_paused_stepped_and_stopped(viewer: Any, opened: Trained) -> None:
    viewer.send(type="recorded-goal", episode=int(opened.held_out[0]), frame=4)
    viewer.send(type="plan")
    viewer.wait("plan")
    viewer.send(type="pause", paused=True)
    before = viewer.wait("frame", lambda frame: frame["paused"])
    viewer.send(type="step")
    assert viewer.wait("frame", lambda frame: frame["since"] > before["since"])["doing"] == "acting"
    viewer.send(type="stop")
    assert viewer.wait("frame", lambda frame: frame["doing"] == "steering")["paused"]


@pytest.mark.parametrize(("called_off", "rounds"), [(False, 1 + SEARCH.rounds), (True, 1)])
def test_a_search_ends_soon_when_it_is_called_off(called_off: bool, rounds: int, opened: Trained) -> None:
    frames = opened.recording.episode(int(opened.held_out[0])).frames
    seen = encode_frames(opened.model, frames[:5], opened.compute)
    pursuit = Pursuit(
        Settings(horizon=2, samples=16),
        goal=Goal(frames[4], seen[4], None, "a frame"),
        trained=opened,
        chart=chart(encode_episodes(opened.model, opened.recording, opened.held_out, opened.compute)),
        seen=seen[:1],
        blocks=torch.zeros(0, 2, 2),
        felt=torch.zeros(1, 0),
        called_off=lambda: called_off,
    )
    assert pursuit.next_round()["rounds"] == rounds


def test_a_drawn_goal_is_the_picture_that_was_drawn(viewer: Any) -> None:
    drawn = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    viewer.send(type="drawn-goal", pixels=base64.b64encode(drawn.tobytes()).decode())
    goal = viewer.wait("goal", lambda message: message["name"] == "drawn")
    assert np.array_equal(picture(goal["image"]), drawn)


def test_factors_change_the_picture_and_go_away_again(viewer: Any) -> None:
    settings = {
        "type": "settings",
        "frames_per_second": 60,
        "look_every": 0,
        "horizon": 2,
        "samples": 16,
        "replan": True,
    }
    viewer.send(type="pause", paused=True)
    before = picture(viewer.wait("frame", lambda frame: frame["paused"])["real"])
    viewer.send(**settings, factors={"light": 0.2, "hue": 0.0, "friction": 1.0})
    assert viewer.wait("settings", lambda message: message["factors"]["light"] == 0.2)["samples"] == 16
    shown = viewer.wait("frame", lambda frame: picture(frame["real"]).mean() < 0.5 * before.mean())
    assert (shown["paused"], shown["since"], shown["apart"]) == (True, 0, 0)  # at once; the dream begins from it
    viewer.send(type="step")
    shown = viewer.wait("frame", lambda frame: frame["since"] == 1)
    assert picture(shown["real"]).mean() < 0.5 * before.mean()
    viewer.send(**settings, factors={"light": 1.0, "hue": 0.0, "friction": 1.0})
    again = viewer.wait("frame", lambda frame: picture(frame["real"]).mean() > 0.9 * before.mean())
    assert again["since"] == 1
    assert again["dream"] == shown["dream"]  # what has been dreamt stays
    assert again["apart"] != shown["apart"]
    viewer.send(type="look")
    assert viewer.wait("frame", lambda frame: frame["since"] == 0)["apart"] == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("nonsense", "not JSON"),
        ("[1]", "JSON object"),
        ('{"type": "drvie", "action": [0, 0]}', "Did you mean 'drive'"),
        ('{"type": "drive", "action": [0]}', "expected 2"),
        ('{"type": "drive", "action": [NaN, 0]}', "not finite"),
        (f'{{"type": "drive", "action": [{"9" * 400}, 0]}}', "larger than any float"),
        ('{"type": "drive", "action": "left"}', "drive.action"),
        ('{"type": "drive", "action": [0, 0], "more": 1}', "unknown fields"),
        ('{"type": "begin-at", "episode": 99, "frame": 0}', "not recorded"),
        ('{"type": "begin-at", "episode": -1, "frame": 0}', "not recorded"),
        ('{"type": "show-episode", "episode": 99}', "99"),
        ('{"type": "drawn-goal", "pixels": "AAAA"}', "3 bytes"),
        ('{"type": "drawn-goal", "pixels": "?"}', "not base64"),
        ("[" * 5000, "not JSON"),
    ],
)
def test_nonsense_is_answered_and_does_no_harm(text: str, told: str, viewer: Any) -> None:
    viewer.socket.send(text)
    assert told in viewer.wait("note")["text"]
    viewer.send(type="pause", paused=True)
    viewer.wait("frame", lambda frame: frame["paused"])


@pytest.mark.parametrize("value", [0, -5, 1e9, float("inf")])
def test_settings_out_of_bounds_are_refused(value: float, viewer: Any) -> None:
    plain = {"look_every": 0, "horizon": 2, "samples": 16, "replan": True}
    factors = {"light": 1.0, "hue": 0.0, "friction": 1.0}
    viewer.send(type="settings", frames_per_second=value, **plain, factors=factors)
    assert "frames_per_second" in viewer.wait("note")["text"]
    viewer.send(type="settings", frames_per_second=15, **{**plain, "horizon": 40}, factors=factors)
    assert "horizon is 40; expected 1 to 3" in viewer.wait("note")["text"]


def send_until_closed(viewer: Any, text: str, times: int) -> int | None:
    """Send on and on; return the code with which the connection was closed, None if without one."""
    try:
        for _ in range(times):
            viewer.socket.send(text)
        while True:
            viewer.socket.recv(10)
    except exceptions.ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else None


def test_a_flood_is_dropped_and_then_cut_off(viewer: Any, connect: Callable[[], Any]) -> None:
    assert send_until_closed(connect(), '{"type": "look"}', 100_000) in (4400, None)
    assert send_until_closed(connect(), "x" * 10**6, 1) in (1009, None)
    viewer.send(type="pause", paused=True)
    viewer.wait("frame", lambda frame: frame["paused"] and frame["watching"] == 1)


def test_a_driver_who_leaves_lets_go_and_an_empty_house_rests(
    viewer: Any, connect: Callable[[], Any], server: LiveServer
) -> None:
    driver = connect()
    driver.send(type="drive", action=[1.0, 1.0])
    viewer.wait("frame", lambda frame: frame["action"] == [1.0, 1.0])
    driver.socket.close()
    viewer.wait("frame", lambda frame: frame["action"] == [0, 0] and frame["watching"] == 1)
    viewer.socket.close()
    assert until(lambda: len(server.hub) == 0)
    time.sleep(0.2)
    dreamt = server.session.frames
    time.sleep(0.3)
    assert server.session.frames == dreamt


def test_who_has_left_drives_no_more_whatever_was_still_waiting(viewer: Any, server: LiveServer) -> None:
    server.session.submit(-1, Drive((1.0, 1.0)))
    server.session.left(-1)
    viewer.wait("frame", lambda frame: frame["action"] == [0, 0] and frame["since"] > 5)


def test_no_more_than_may_watch(server: LiveServer, connect: Callable[[], Any]) -> None:
    for _ in range(server.hub.config.viewers):
        connect().wait("world")
    one_more = connect()
    with pytest.raises(exceptions.ConnectionClosed) as closed:
        one_more.socket.recv(10)
    assert closed.value.rcvd.code == 4429


def get(server: LiveServer, path: str, **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
    connection.putrequest("GET", path, skip_host="Host" in headers)
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    return connection.getresponse()


def test_who_comes_before_it_serves_has_only_to_wait(opened: Trained) -> None:
    server = LiveServer(ServeConfig(port=0), trained=opened)
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as early:
        early.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        thread = threading.Thread(target=server.run)
        thread.start()
        try:
            assert early.recv(15) == b"HTTP/1.1 200 OK"
        finally:
            server.stop()
            thread.join(20)


def test_no_file_but_the_pages_own_is_served(server: LiveServer) -> None:
    for path in ("/", "/app.js", "/style.css"):
        answer = get(server, path)
        assert answer.status == 200
        assert "default-src 'none'" in str(answer.getheader("Content-Security-Policy"))
    for path in (
        *(
            "/../session.py",
            "/..%2fsession.py",
            "/page/app.js",
            "/session.py",
            "//etc/passwd",
            "/%2e%2e/%2e%2e/etc/passwd",
        ),
        *("/index.html", "/app.js/", "/etc/passwd"),
    ):
        assert get(server, path).status == 404, path


def test_other_sites_cannot_reach_it(server: LiveServer) -> None:
    """Neither a page of another origin, nor one whose name was made to point here."""
    for host in ("evil.example", "[", "[localhost"):
        assert get(server, "/", Host=host).status == 403
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
        "Sec-WebSocket-Version": "13",
    }
    assert get(server, "/live", **upgrade, Origin=server.url[:-1]).status == 101
    for foreign in ({"Origin": "http://evil.example"}, {"Origin": "http://["}, {"Host": "evil.example"}, {"Host": "["}):
        assert get(server, "/live", **upgrade, **foreign).status == 403, foreign


def test_a_crowd_of_the_silent_keeps_nobody_out(
    server: LiveServer, connect: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither those who say nothing, nor those who never finish; they are parted from, and a viewer is not."""
    monkeypatch.setattr(silence, "SILENT_SECONDS", 0.5)
    address = urlsplit(server.url)
    with ExitStack() as stack:
        crowd = []
        for number in range(200):
            crowd.append(stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=10)))
            if number % 2:
                crowd[-1].send(b"GET / HTTP/1.1\r\nHost: ")
        assert get(server, "/").status == 200
        viewer = connect()
        viewer.wait("world")
        assert [each.recv(1) for each in crowd] == [b""] * len(crowd)
        time.sleep(0.6)
        viewer.send(type="pause", paused=True)
        viewer.wait("frame", lambda frame: frame["paused"])


def test_a_token_must_be_the_right_one(serve: Serve) -> None:
    with serve(ServeConfig(host="0.0.0.0", port=0)) as server:
        address = f"ws://127.0.0.1:{urlsplit(server.url).port}/live"
        for token in ("", "wrong", "\ud800", "é", 7, None):
            with client.connect(address) as connection:
                connection.send(json.dumps({"type": "hello", "token": token}))
                with pytest.raises(exceptions.ConnectionClosed) as closed:
                    connection.recv(10)
                assert closed.value.rcvd.code == 4401
        with client.connect(address) as connection:
            connection.send(json.dumps({"type": "hello", "token": server.token}))
            assert json.loads(connection.recv(20))["type"] == "world"


def test_a_greeting_must_be_one(server: LiveServer) -> None:
    for greeting in ("hello", '{"type": "drive", "action": [0, 0]}', b"\x00"):
        with client.connect(server.url.replace("http", "ws") + "live") as connection:
            connection.send(greeting)
            with pytest.raises(exceptions.ConnectionClosed) as closed:
                connection.recv(10)
            assert closed.value.rcvd.code == 4401
