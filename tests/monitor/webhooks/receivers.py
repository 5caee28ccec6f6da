# SPDX-License-Identifier: MIT
"""Receivers that check all that a product documents about its webhooks, and answer as it does.

DingTalk's custom robot: POST of JSON, at most 20,000 bytes; a message type with the fields that it needs; a keyword, a
signature with a timestamp in ms within an hour; 20 messages a minute. Feishu's: the same with 20 kB, a post of lines of
known elements, a timestamp in s; 100 a minute and 5 a second. Slack's incoming webhook: text of at most 40,000
characters, at most 50 blocks, a section's text of at most 3000. A generic receiver as heartfelt's own documentation
describes it: an idempotency key, a timestamp and a signature.

`Receiver` serves one of them on this machine. What was taken is in `taken`, what was refused in `refused`, with why.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

HOUR_MS = 3_600_000
MINUTE_MS = 60_000


def wall_ms():
    return time.time_ns() // 1_000_000


class Refused(Exception):
    """args: the code and the text of the product's error."""


def need(condition, *error):
    if not condition:
        raise Refused(*error)


def signature(key, text):
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()


def is_plain(text):
    """No control or bidirectional character, and nothing that is not Unicode."""
    return all(c.isprintable() or c == "\n" for c in text)


class Product:
    """keyword, secret: the security settings of the robot, if it has them."""

    limits = ()

    def __init__(self, *, keyword=None, secret=None, now_ms=wall_ms):
        self.keyword, self.secret, self.now_ms = keyword, secret, now_ms
        self.taken = []
        self.refused = []
        self._calls = []

    def answer(self, path, headers, body):
        """Status and body of the answer."""
        try:
            self._limit()
            message = self.check(path, headers, body)
        except Refused as error:
            self.refused.append(error.args)
            return self.refuse(*error.args)
        self.taken.append(message)
        return 200, self.accepted

    def _limit(self):
        now_ms = self.now_ms()
        self._calls.append(now_ms)
        for number, span_ms, *error in self.limits:
            need(sum(at_ms > now_ms - span_ms for at_ms in self._calls) <= number, *error)

    def texts(self):
        """Everything of each message that was taken that people see."""
        return [self.text_of(message) for message in self.taken]


def json_of(body, headers, *error):
    need(headers.get("content-type", "").startswith("application/json"), *error)
    try:
        found = json.loads(body.decode("utf-8"))
    except ValueError:
        raise Refused(*error) from None
    need(isinstance(found, dict), *error)
    return found


class DingTalk(Product):
    accepted = b'{"errcode":0,"errmsg":"ok"}'
    limits = ((20, MINUTE_MS, 130101, "send too fast, exceed 20 times per minute"),)

    def refuse(self, code, text):
        return 200, json.dumps({"errcode": code, "errmsg": text}).encode()

    def check(self, path, headers, body):
        query = parse_qs(urlsplit(path).query)
        need(query.get("access_token"), 300001, "token is not exist")
        need(len(body) <= 20_000, 40035, "the message is too long")
        message = json_of(body, headers, 43004, "invalid http header Content-Type or body")
        need(message.get("msgtype") == "markdown", 400105, "unsupported msgtype")
        markdown = message.get("markdown")
        need(isinstance(markdown, dict) and set(markdown) == {"title", "text"}, 40035, "missing markdown")
        need(all(isinstance(value, str) and value for value in markdown.values()), 40035, "missing title or text")
        need(is_plain("".join(markdown.values())), 40035, "control characters")
        if self.keyword is not None:
            need(self.keyword in self.text_of(message), 310000, "keywords not in content")
        if self.secret is not None:
            stamp = query.get("timestamp", ["0"])[0]
            need(abs(int(stamp) - self.now_ms()) <= HOUR_MS, 310000, "invalid timestamp")
            signed = [signature(self.secret, f"{stamp}\n{self.secret}")]
            need(query.get("sign") == signed, 310000, "description:机器人发送签名不匹配;solution:请确认签名;")
        return message

    def text_of(self, message):
        return f"{message['markdown']['title']}\n{message['markdown']['text']}"

    def injected(self, message):
        """Finds Markdown and HTML in others' words. Ours: one heading, then a list."""
        head, *lines = message["markdown"]["text"].split("\n")
        found = [] if head.startswith("### ") else [head]
        found += [line for line in lines if not line.startswith("- ")]
        words = [head[4:], *(line[2:] for line in lines)]
        return found + [word for word in words if re.search(r"[\[\]<>`*~#|!\\]", word)]


class Feishu(Product):
    accepted = b'{"code":0,"msg":"success","data":{},"StatusCode":0,"StatusMessage":"success"}'
    limits = (
        (100, MINUTE_MS, 11232, "frequency limited"),
        (5, 1000, 9499, "too many request"),
    )

    def refuse(self, code, text):
        answer = {"StatusCode": 0, "StatusMessage": "", "code": code, "msg": text, "data": {}}
        return (400 if code == 9499 else 200), json.dumps(answer).encode()

    def check(self, path, headers, body):
        need(len(body) <= 20_000, 9499, "Bad Request: too large")
        message = json_of(body, headers, 9499, "Bad Request")
        if self.secret is not None:
            stamp = message.get("timestamp")
            need(isinstance(stamp, str) and stamp.isdigit(), 19021, "timestamp missing")
            need(abs(int(stamp) * 1000 - self.now_ms()) <= HOUR_MS, 19021, "timestamp is not within one hour")
            expected = base64.b64encode(hmac.new(f"{stamp}\n{self.secret}".encode(), b"", hashlib.sha256).digest())
            need(message.get("sign") == expected.decode(), 19021, "sign match fail")
        need(set(message) <= {"msg_type", "content", "timestamp", "sign"}, 9499, "Bad Request")
        need(message.get("msg_type") == "post", 19002, "params error, msg_type need")
        try:
            ((language, post),) = message["content"]["post"].items()
            need(language in ("zh_cn", "en_us") and set(post) == {"title", "content"}, 9499, "Bad Request")
            need(isinstance(post["title"], str) and post["content"], 9499, "Bad Request")
            for line in post["content"]:
                for element in line:
                    need(set(element) == {"tag", "text"} and element["tag"] == "text", 9499, "Bad Request")
                    need(isinstance(element["text"], str) and "\n" not in element["text"], 9499, "Bad Request")
        except (KeyError, TypeError, ValueError, AttributeError):
            raise Refused(9499, "Bad Request") from None
        need(is_plain(self.text_of(message)), 9499, "control characters")
        if self.keyword is not None:
            need(self.keyword in self.text_of(message), 19024, "Key Words Not Found")
        return message

    def text_of(self, message):
        (post,) = message["content"]["post"].values()
        return "\n".join([post["title"], *(element["text"] for line in post["content"] for element in line)])

    def injected(self, message):
        """Elements of kind text are shown as they are: nothing, as `check` takes no others."""
        return []


class Slack(Product):
    accepted = b"ok"

    def refuse(self, code, text):
        return 400, code.encode()

    def check(self, path, headers, body):
        message = json_of(body, headers, "invalid_payload", "not JSON")
        need(set(message) <= {"text", "blocks"}, "invalid_payload", "unknown fields")
        need(isinstance(message.get("text"), str) and 0 < len(message["text"]) <= 40_000, "no_text", "text")
        blocks = message.get("blocks", [])
        need(isinstance(blocks, list) and len(blocks) <= 50, "invalid_blocks", "blocks")
        for block in blocks:
            need(set(block) == {"type", "text"} and block["type"] == "section", "invalid_blocks", "a block")
            text = block["text"]
            need(set(text) == {"type", "text", "verbatim"} and text["type"] == "mrkdwn", "invalid_blocks", "a text")
            need(isinstance(text["text"], str) and 0 < len(text["text"]) <= 3000, "invalid_blocks", "length")
        need(is_plain(self.text_of(message)), "invalid_payload", "control characters")
        return message

    def text_of(self, message):
        return "\n".join([message["text"], *(block["text"]["text"] for block in message["blocks"])])

    def injected(self, message):
        """Finds mrkdwn in others' words. Ours: the asterisks around the title."""
        title, *rest = [block["text"]["text"] for block in message["blocks"]]
        found = [] if title[0] == title[-1] == "*" else [title]
        for text in (message["text"], title[1:-1], *rest):
            plain = re.sub("&(amp|lt|gt);", "", text)
            found += [text] if re.search(r"[&<>*~`]", plain) else []
        return found + [block for block in message["blocks"] if block["text"]["verbatim"] is not True]


class Generic(Product):
    accepted = b""

    def refuse(self, code, text):
        return code, text.encode()

    def check(self, path, headers, body):
        if self.secret is not None:
            stamp = headers.get("x-heartfelt-timestamp", "")
            need(stamp.isdigit() and abs(int(stamp) * 1000 - self.now_ms()) <= 5 * MINUTE_MS, 401, "timestamp")
            digest = hmac.new(self.secret.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
            given = headers.get("x-heartfelt-signature", "")
            need(hmac.compare_digest(given, f"sha256={digest}"), 401, "signature")
        need(re.fullmatch(r"[\x21-\x7e]{1,200}", headers.get("idempotency-key", "")), 400, "idempotency key")
        message = json_of(body, headers, 415, "not JSON")
        need({"event", "key", "level", "title", "text", "time_ms"} <= set(message), 422, "fields")
        need(is_plain(message["title"] + message["text"]), 422, "control characters")
        need("\n" not in message["title"], 422, "the title has lines")
        if self.keyword is not None:
            need(self.keyword in self.text_of(message), 422, "keyword")
        return message

    def text_of(self, message):
        return f"{message['title']}\n{message['text']}"

    def injected(self, message):
        """A line for each of our own labels; no line of others' making."""
        lines = [] if message["event"] == "test" else message["text"].split("\n")
        return [line for line in lines if not re.match("[A-Z][a-z ]+: |[一-鿿]+: ", line)]


PRODUCTS = {"dingtalk": DingTalk, "feishu": Feishu, "slack": Slack, "generic": Generic}


class Receiver:
    """A product on a port of this machine. `override(body)` gives an answer (status, body) in its place, or None."""

    def __init__(self, product, override=None):
        self.product = product
        self.override = override or (lambda body: None)
        self.times = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                receiver.times.append(time.monotonic())
                status, answer = receiver.override(body) or receiver.product.answer(self.path, headers, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *args):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/robot/send?access_token=path-key-123"

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
