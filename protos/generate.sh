#!/usr/bin/env bash
# Regenerates protos/explore/v1/*_pb2*.py from the .proto files; the same inputs give the same bytes (CI checks for drift).
set -euo pipefail
cd "$(dirname "$0")/.."
rm -f protos/explore/v1/*_pb2*.py*
python -m grpc_tools.protoc -I protos --python_out=protos --pyi_out=protos --grpc_python_out=protos protos/explore/v1/*.proto
# protoc writes imports relative to its -I root; ours is a package inside `protos`.
sed -i -E 's/^from explore\.v1 import/from protos.explore.v1 import/' protos/explore/v1/*_pb2*.py protos/explore/v1/*_pb2*.pyi
