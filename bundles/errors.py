"""Why a bundle cannot be published or opened. Every message names the version, the file and what to do.

BundleError
├── BundleMissing       no such version, or nothing activated yet
├── BundleCorrupt       a checksum, a file, the manifest or the pointer is not what was published
│   └── DownloadCorrupt     a file of a remote store has another sha256 than its manifest says
├── UnsupportedFormat   written by another generation of this software
├── SchemaMismatch      trained on other features than this process computes
├── UnknownFile         a file was asked for that the manifest does not name
├── UnverifiedFile      a file was asked for that this process did not have verified
├── HoldRefused         a version cannot be held besides, or is not
├── StageRefused        what was staged cannot become a bundle
├── DiskFull            there is no room for what is fetched
└── RemoteError         a store behind a URL cannot be used
    ├── RemoteUnsupported   nothing here speaks the protocol of the URL, or the URL is none
    ├── RemoteDenied        no credentials, or no permission
    └── RemoteUnreachable   no such host, no answer, no such bucket; the only one that time may mend
"""

from __future__ import annotations


class BundleError(Exception):
    """A bundle cannot be used."""


class BundleMissing(BundleError):
    """There is no such version, or no version at all."""


class BundleCorrupt(BundleError):
    """What lies on disk is not what was published."""

    def __init__(self, version: str, file: str, problem: str) -> None:
        super().__init__(
            f"bundle {version}: {file}: {problem}; copy or publish the bundle again, or activate another version"
        )
        self.version = version
        self.file = file


class UnsupportedFormat(BundleError):
    """The manifest has a format that this software does not read."""

    def __init__(self, version: str, found: object, supported: int) -> None:
        super().__init__(
            f"bundle {version}: manifest.json has format_version {found!r}, this software reads {supported}; "
            "publish the bundle with the same release that serves it"
        )
        self.version = version


class SchemaMismatch(BundleError):
    """The bundle was trained on another feature schema."""

    def __init__(self, version: str, found: str, expected: str) -> None:
        super().__init__(
            f"bundle {version}: manifest.json has schema_fingerprint {found}, this process computes features of "
            f"{expected}; train again with this release, or run the release that trained the bundle"
        )
        self.version = version


class UnknownFile(BundleError):
    """The manifest does not name the file."""

    def __init__(self, version: str, file: str, known: list[str]) -> None:
        super().__init__(f"bundle {version}: {file!r} is not in the manifest; files: {', '.join(known)}")
        self.version = version
        self.file = file


class UnverifiedFile(BundleError):
    """The file is in the manifest, but outside of the parts that the bundle was opened with."""

    def __init__(self, version: str, file: str, parts: list[str]) -> None:
        super().__init__(
            f"bundle {version}: {file!r} was not verified, only {', '.join(parts)}; "
            "name it among the parts that the service reads (bundles/layout.py)"
        )
        self.version = version
        self.file = file


class DownloadCorrupt(BundleCorrupt):
    """What a remote store gives is not what was published."""

    def __init__(self, version: str, file: str, expected: str, found: str) -> None:
        super().__init__(version, file, f"was downloaded with sha256 {found}, expected {expected}")
        self.expected = expected
        self.found = found


class DiskFull(BundleError):
    """There is no room below the root."""


class RemoteError(BundleError):
    """A store behind a URL cannot be used; the message begins with the URL."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"{url}: {problem}")
        self.url = url
        self.problem = problem


class RemoteUnsupported(RemoteError):
    """The protocol is unknown, or its library is not installed."""


class RemoteDenied(RemoteError):
    """There are no credentials, or they do not suffice."""


class RemoteUnreachable(RemoteError):
    """The store does not answer, or not to the point."""


class StageRefused(BundleError):
    """The staged directory cannot become a bundle."""


class HoldRefused(BundleError):
    """Too many versions are held besides the current one, or the version is not among them."""
