"""The lock of the page's npm packages: every one by version and hash, and no address."""

from reflex import constants

from webapp import build
from webapp.client import CHARTS


def test_every_package_is_locked_by_version_and_hash_and_no_address_is_in_the_lock():
    texts = [(build.LOCK_DIR / name).read_text() for name in build.LOCK_NAMES]
    assert not any("://" in text for text in texts)
    found = build.packages_of(build.LOCK_DIR)
    assert len(found) > 100
    assert all(version and integrity.startswith("sha512-") for version, integrity in found.values())


def test_what_reflex_and_the_page_ask_for_is_locked_at_exactly_that_version():
    found = build.packages_of(build.LOCK_DIR)
    chart, _, version = CHARTS.rpartition("@")
    asked = constants.PackageJson.DEPENDENCIES | constants.PackageJson.DEV_DEPENDENCIES | {chart: version}
    locked = {name: found[f"node_modules/{name}"][0] for name in asked}
    assert locked == {name: version.removeprefix("v") for name, version in asked.items()}
