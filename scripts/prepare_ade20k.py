"""Download ADE20K SceneParse150 (about 1 GB), verify and unpack it, and count its files."""

import argparse
import shutil
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pooch
from missing_files import incomplete_splits

from segattn.data import ADE20K

NUM_IMAGES = {"train": 20210, "val": 2000}
FOLDER = "ADEChallengeData2016"
URL = f"http://data.csail.mit.edu/places/ADEchallenge/{FOLDER}.zip"
DIGEST = "sha1:219e1696abb36c8ba3a3afe7fb2f4b4606a897c7"
INSTANCES_FOLDER = "annotations_instance"
INSTANCES_URL = f"http://sceneparsing.csail.mit.edu/data/ChallengeData2017/{INSTANCES_FOLDER}.tar"
INSTANCES_DIGEST = "sha256:5eb0db23c64779bc646ca535a3d495db0a75700b9467f8a79eecaf728b266acd"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the data set; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("data"), help=f"parent of {FOLDER} (default: data)")
    parser.add_argument("--instances", action="store_true", help="also get the instance maps (90 MB)")
    parser.add_argument("--url", default=URL, help="URL of the archive (default: %(default)s)")
    parser.add_argument(
        "--instances-url", default=INSTANCES_URL, help="URL of the instance maps (default: %(default)s)"
    )
    parser.add_argument("--keep-archives", action="store_true", help="keep the archives after unpacking")
    options = parser.parse_args(arguments)

    root = options.output / FOLDER
    archives = [(options.url, DIGEST if options.url == URL else None, root)]
    if options.instances:
        digest = INSTANCES_DIGEST if options.instances_url == INSTANCES_URL else None
        archives.append((options.instances_url, digest, root / INSTANCES_FOLDER))
    try:
        for url, digest, folder in archives:
            if not folder.is_dir():
                archive = Path(pooch.retrieve(url, digest, url.rpartition("/")[2], options.output, progressbar=True))
                unpack(archive, folder)
                if not options.keep_archives:
                    archive.unlink()
    except (OSError, ValueError, zipfile.BadZipFile, tarfile.TarError, shutil.ReadError) as error:
        print(f"{url} cannot be downloaded and unpacked: {error}", file=sys.stderr)
        return 1
    problems = incomplete_splits(lambda split: ADE20K(root, split, instances=options.instances), NUM_IMAGES)
    print("\n".join(problems) if problems else f"ADE20K is complete in {root.absolute()}")
    return 1 if problems else 0


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the top folder of an archive; it is moved into place when it is complete."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
        if archive.suffix == ".tar" and hasattr(tarfile, "data_filter"):  # Python 3.11.4 brought it
            shutil.unpack_archive(archive, draft, filter="data")
        else:
            shutil.unpack_archive(archive, draft)
        (Path(draft) / folder.name).replace(folder)


if __name__ == "__main__":
    sys.exit(main())
