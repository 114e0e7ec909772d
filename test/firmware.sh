#!/usr/bin/env bash
# firmware.sh FOLDER: fetches the packages whose firmware the tests behind the build
# tag `firmware` measure, checks them, and unpacks them into FOLDER.
set -euo pipefail
folder=$1
mkdir -p "$folder"

# fetch NAME SHA256 URL…: the first URL that answers; pools keep a version for as long
# as a release has it.
fetch() {
	local name=$1 sum=$2 url
	shift 2
	local file=$folder/$name.deb
	if ! sha256sum --status -c <<<"$sum  $file" 2>/dev/null; then
		for url in "$@"; do
			echo "fetching $url"
			curl -fsSL --max-time 300 --max-filesize 50000000 -o "$file" "$url" && break
		done
		sha256sum --quiet -c <<<"$sum  $file" || {
			echo "$name: no copy of the package with SHA-256 $sum was found; it may have left the pool: put it at $file"
			exit 1
		}
	fi
	rm -rf "${folder:?}/$name"
	mkdir "$folder/$name"
	# dpkg-deb of Debian 12 reads both packages' compression.
	dpkg-deb -x "$file" "$folder/$name"
}

fetch ubuntu 7b8e6436df7cb735ddfc3d4f0bcf6a7dbd6613a6206dd4aec0bc981224e8dd49 \
	http://archive.ubuntu.com/ubuntu/pool/main/e/edk2/ovmf_2025.02-3ubuntu2_all.deb \
	http://old-releases.ubuntu.com/ubuntu/pool/main/e/edk2/ovmf_2025.02-3ubuntu2_all.deb
fetch debian 92c9b6d15e4eeb371938c3f99080c1a8fc057dfd6bc0509d37f8b615e9edebfb \
	http://deb.debian.org/debian/pool/main/e/edk2/ovmf-amdsev_2026.08+ds-2_all.deb \
	https://snapshot.debian.org/archive/debian/20261127T000000Z/pool/main/e/edk2/ovmf-amdsev_2026.08+ds-2_all.deb
