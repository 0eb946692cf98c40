"""Run by the tests in a process of its own: an OpenAI-compatible server on loopback and a free port.

Usage: served_model.py words|tiny. Prints its port. "words" answers by a hash of what is asked, "tiny" with the embedded
model. POST /faults {"2": "500", …} says what the requests for an answer that come from now on get instead, counted from
0; GET /asked lists a hash of each conversation that was answered in full, and the most requests there were at once.
"""

import hashlib
import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "right-key"
MODEL = "served"
LOCK = threading.Lock()
GENERATING = threading.Lock()
STATE = {"faults": {}, "n": 0, "answered": [], "active": 0, "peak": 0, "keys": []}


def words(messages, limit):
    """An answer that only these messages get, in ``limit`` words at most."""
    digest = hashlib.sha256(json.dumps(messages).encode()).hexdigest()
    said = ["No,", "I", "would", "rather", "not", "do", "that:", *(f"w{digest[i : i + 4]}" for i in range(0, 16, 4))]
    return " ".join(said[:limit]), "length" if limit < len(said) else "stop"


def tiny():
    from safefed.config import ModelConfig
    from safefed.generate import LocalGenerator
    from safefed.models import load_model
    from safefed.records import Message

    generator = LocalGenerator(load_model(ModelConfig(dtype="float32", device="cpu")))

    def speak(messages, limit):
        with GENERATING:
            (answer,) = generator.generate([[Message(**turn) for turn in messages]], max_new_tokens=limit)
        return answer.text, answer.finish

    return speak


def completion(text, finish):
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    usage = {"prompt_tokens": 7, "completion_tokens": len(text.split()), "prompt_tokens_details": {"cached_tokens": 2}}
    return {"id": "c", "object": "chat.completion", "created": 0, "model": MODEL, "choices": [choice], "usage": usage}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16  # head and body in one packet

    def log_message(self, *_):
        pass

    def reply(self, status, body, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(data), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path == "/asked":
            self.reply(200, {key: STATE[key] for key in ("n", "answered", "peak", "keys")})
        elif not self.path.startswith("/v1/models"):
            self.reply(404, {"error": {"message": "no such path"}})
        elif self.allowed():
            self.reply(
                200, {"object": "list", "data": [{"id": MODEL, "created": time.time_ns(), "max_model_len": 512}]}
            )

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/faults":
            STATE.update(faults=asked, n=0, answered=[], peak=0, keys=[])
            self.reply(200, {})
        elif self.path != "/v1/chat/completions":
            self.reply(404, {"error": {"message": "no such path"}})
        elif self.allowed() and asked["messages"][0]["content"] == "Say hello.":
            self.reply(200, completion("Hello.", "stop"))
        else:
            self.answer(asked)

    def allowed(self):
        key = self.headers.get("Authorization", "").removeprefix("Bearer ")
        STATE["keys"].append(key)
        if key != "wrong-key":
            return True
        self.reply(401, {"error": {"message": f"bad key {key}", "code": "invalid_api_key"}})
        return False

    def answer(self, asked):
        with LOCK:
            number, STATE["n"] = STATE["n"], STATE["n"] + 1
            STATE["active"] += 1
            STATE["peak"] = max(STATE["peak"], STATE["active"])
        try:
            fault = STATE["faults"].get(str(number), STATE["faults"].get("*"))
            getattr(self, f"fault_{fault}" if fault else "sound")(asked)
        finally:
            with LOCK:
                STATE["active"] -= 1

    def sound(self, asked):
        assert (asked["model"], asked["temperature"], asked["seed"]) == (MODEL, 0, 0)
        text, finish = SPEAK(asked["messages"], asked["max_tokens"])
        with LOCK:
            STATE["answered"].append(hashlib.sha256(json.dumps(asked["messages"]).encode()).hexdigest())
        self.reply(200, completion(text, finish))

    def fault_429(self, _):
        self.reply(429, {"error": {"message": "too fast: canary", "code": "rate_limit"}}, retry_after_ms=30)

    def fault_wait(self, _):
        self.reply(429, {"error": {"message": "too fast"}}, Retry_After=0.7)

    def fault_500(self, _):
        self.reply(500, {"error": {"message": "canary"}}, retry_after_ms=10)

    def fault_400(self, asked):
        self.reply(400, {"error": {"message": f"canary {asked}", "code": "context_length", "param": "messages"}})

    def fault_redirect(self, _):
        self.reply(307, b"", Location="http://127.0.0.1:9/v1/chat/completions")

    def fault_slow(self, asked):
        time.sleep(0.4)
        self.sound(asked)

    def fault_brief(self, asked):
        time.sleep(0.05)
        self.sound(asked)

    def fault_garbage(self, _):
        self.reply(200, b"<html>\xff canary </html>")

    def fault_truncated(self, asked):
        self.reply(200, json.dumps(completion(*SPEAK(asked["messages"], 99))).encode()[:-40])

    def fault_broken(self, _):
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        self.wfile.write(b'{"choices": [')
        self.close_connection = True

    def fault_silent(self, _):
        self.reply(200, {"choices": [{"message": {"role": "assistant", "content": None}, "finish_reason": "stop"}]})

    def fault_filtered(self, _):
        self.reply(200, completion("canary", "content_filter"))

    def fault_uncounted(self, asked):
        self.reply(200, completion(*SPEAK(asked["messages"], asked["max_tokens"])) | {"usage": {"prompt_tokens": None}})


class Server(ThreadingHTTPServer):
    def handle_error(self, request, client_address):
        if not isinstance(sys.exception(), ConnectionError):  # a client that was killed
            super().handle_error(request, client_address)


SPEAK = tiny() if sys.argv[1] == "tiny" else words
server = Server(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
