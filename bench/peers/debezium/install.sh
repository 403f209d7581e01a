#!/bin/sh
# Installs Debezium Server from Maven Central into .peers/debezium-server, for `npm run bench -- peers`.
# Needs Java 17 and Maven; the archive has 450 MB. 2.7.3.Final is a release that Maven Central has as an archive.
set -eu
version=2.7.3.Final
peers=$(CDPATH='' cd -- "$(dirname -- "$0")/../../.." && pwd)/.peers
mkdir -p "$peers"
mvn --batch-mode --quiet dependency:copy \
  -Dartifact="io.debezium:debezium-server-dist:$version:tar.gz" -DoutputDirectory="$peers"
tar -xzf "$peers/debezium-server-dist-$version.tar.gz" -C "$peers"
rm "$peers/debezium-server-dist-$version.tar.gz"
echo "Debezium Server $version is in $peers/debezium-server"
