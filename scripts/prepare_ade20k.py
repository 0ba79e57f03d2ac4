"""Download ADE20K SceneParse150 (about 1 GB), unpack it and count its files; going on where an earlier try ended."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from segattn.data import ADE20K
from segattn.data.ade20k import NUM_IMAGES
from segattn.data.download import count_problems, download, extract
from segattn.data.errors import DownloadError

FOLDER = "ADEChallengeData2016"
URL = f"http://data.csail.mit.edu/places/ADEchallenge/{FOLDER}.zip"
DIGEST = "sha1:219e1696abb36c8ba3a3afe7fb2f4b4606a897c7"
INSTANCES_FOLDER = "annotations_instance"
INSTANCES_URL = f"http://sceneparsing.csail.mit.edu/data/ChallengeData2017/{INSTANCES_FOLDER}.tar"
INSTANCES_DIGEST = "sha256:5eb0db23c64779bc646ca535a3d495db0a75700b9467f8a79eecaf728b266acd"


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare the data set; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("data"), help=f"gets the folder {FOLDER} (default: data)")
    parser.add_argument("--instances", action="store_true", help="also get the instance maps (90 MB)")
    parser.add_argument("--url", default=URL, help="address of the archive (default: %(default)s)")
    parser.add_argument("--instances-url", default=INSTANCES_URL, help="address of theirs (default: %(default)s)")
    parser.add_argument("--keep-archives", action="store_true", help="do not remove the archives after unpacking")
    options = parser.parse_args(arguments)

    root = options.output / FOLDER
    parts = [(options.url, DIGEST if options.url == URL else None, options.output, FOLDER)]
    if options.instances:
        digest = INSTANCES_DIGEST if options.instances_url == INSTANCES_URL else None
        parts.append((options.instances_url, digest, root, INSTANCES_FOLDER))
    try:
        for url, digest, folder, member in parts:
            if not (folder / member).is_dir():
                archive = options.output / url.rpartition("/")[2]
                if not archive.is_file():
                    download(url, archive, digest=digest)
                extract(archive, folder, member=member)
                if not options.keep_archives:
                    archive.unlink()
    except DownloadError as error:
        print(error, file=sys.stderr)
        return 1
    problems = count_problems(lambda split: ADE20K(root, split, instances=options.instances), NUM_IMAGES)
    print("\n".join(problems) if problems else f"ADE20K is complete in {root.absolute()}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
