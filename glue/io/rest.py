"""REST services of the estate (ksqlDB, Connect): one place for time-outs, credentials, TLS and errors."""

import time
from collections.abc import Collection
from typing import Any, Self

import msgspec
import requests

from glue.errors import TapelineError, TransientError
from glue.settings import Settings, shown

CONNECT_TIMEOUT_S = 5.0
POLL_S = 0.5
LONGEST_TEXT = 300
"""Characters of an answer that is no JSON which go into a message."""
LONGEST_ANSWER = 80
"""Of an answer by another kind of service."""
UNAVAILABLE = 503
NO_SUCH_REQUEST = {400, 404, 405, 406, 415, 501}
"""By these a service says that it does not know a request: it may be of another kind."""


class Refused(TapelineError):
    """The service answered with an error status; `message` is its own text."""

    def __init__(self, where: str, status: int, message: str) -> None:
        super().__init__(f"{where} answers HTTP {status}: {message}")
        self.status = status
        self.message = message


class Rest:
    """A service at the URL of a setting. An answer with a status of `busy` is asked for again."""

    KIND = "service"
    """What it is, for messages."""

    def __init__(
        self,
        settings: Settings,
        setting: str,
        media_type: str = "application/json",
        busy: Collection[int] = (UNAVAILABLE,),
    ) -> None:
        self._setting = setting.upper()
        self._url = str(getattr(settings, f"{setting}_url")).rstrip("/")
        self.timeout_s = settings.rest_timeout_ms / 1000
        self._busy = busy
        self._session = requests.Session()
        self._session.headers["Accept"] = media_type
        user = getattr(settings, f"{setting}_user")
        if user:
            password = getattr(settings, f"{setting}_password").get_secret_value()
            self._session.auth = (user.encode(), password.encode())  # text would be sent as Latin-1
        # Given with each request: what is set for a session gives way to REQUESTS_CA_BUNDLE.
        self._verify = None if settings.rest_ca_file is None else str(settings.rest_ca_file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._session.close()

    @property
    def where(self) -> str:
        """Name the setting and the address, for messages."""
        return f"{self._setting}_URL={shown(self._url)}"

    def introduction(self, path: str, field: str) -> Any:
        """Ask a service what it is: return field `field` of its JSON answer to a GET of `path`.

        Raises:
            TapelineError: it does not answer, or is a service of another kind.
        """
        try:
            answer = self.call("GET", path)
        except Refused as error:
            if error.status not in NO_SUCH_REQUEST:
                raise
            answer = f"HTTP {error.status}: {error.message}"
        if not isinstance(answer, dict) or field not in answer:
            raise self._of_another_kind(path, answer)
        return answer[field]

    def call(self, method: str, path: str, body: object = None) -> Any:
        """Make a request and return its JSON answer, None where it is empty.

        Raises:
            Refused: the answer is an error.
            TransientError: no answer within REST_TIMEOUT_MS, or the service says until then that it is busy.
            TapelineError: what answers is no such service, or its certificate is not trusted.
        """
        deadline = time.monotonic() + self.timeout_s
        while True:
            try:
                return self._call(method, path, body)
            except Refused as error:
                if error.status not in self._busy:
                    raise
                if time.monotonic() > deadline:
                    raise TransientError(f"{error} (for {self.timeout_s:g} s, REST_TIMEOUT_MS)") from None
            time.sleep(POLL_S)

    def _call(self, method: str, path: str, body: object) -> Any:
        try:
            answer = self._session.request(
                method,
                self._url + path,
                json=body,
                timeout=(min(self.timeout_s, CONNECT_TIMEOUT_S), self.timeout_s),
                verify=self._verify,
            )
        except requests.exceptions.SSLError as error:
            raise TapelineError(
                f"no trusted TLS with {self.where} (REST_CA_FILE names the authority): {error}"
            ) from None
        except (requests.ConnectionError, requests.Timeout) as error:
            is_late = isinstance(error, requests.Timeout) and not isinstance(error, requests.ConnectTimeout)
            what = f"in {self.timeout_s:g} s (REST_TIMEOUT_MS)" if is_late else "there"
            raise TransientError(f"{self.where} does not answer {what}") from None
        except (requests.RequestException, OSError) as error:  # OSError: no such REST_CA_FILE
            raise TapelineError(f"{self.where}: {error}") from None
        try:
            found = msgspec.json.decode(answer.content) if answer.content.strip() else None
        except msgspec.MsgspecError:
            found = answer.text[:LONGEST_TEXT].strip()
        if not answer.ok:
            raise self._refused(answer.status_code, answer.reason, found)
        if isinstance(found, str):
            raise self._of_another_kind(path, found)
        return found

    def _of_another_kind(self, path: str, answer: object) -> TapelineError:
        said = " ".join(str(answer).split())[:LONGEST_ANSWER]
        return TapelineError(f"what answers at {self.where} is no {self.KIND}: {path} says `{said}`")

    def _refused(self, status: int, reason: str, found: object) -> Refused:
        message = found.get("message") if isinstance(found, dict) else found
        text = str(message or reason).strip()
        if status in (401, 403):
            text += f" ({self._setting}_USER, {self._setting}_PASSWORD)"
        return Refused(self.where, status, text)
