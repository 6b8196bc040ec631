"""The contracts of `protos/` as numpy columns and back, every field checked. Wrong input raises InvalidArgument with its path."""

from serving.wire.candidates import decode_candidates, encode_candidates
from serving.wire.contexts import SeenMedia, decode_contexts, decode_seen, encode_contexts
from serving.wire.ranking import (
    RankAsk,
    decode_rank_request,
    decode_rank_response,
    encode_rank_request,
    encode_rank_response,
)
from serving.wire.retrieval import (
    RetrieveAsk,
    RetrieveBatch,
    Sourced,
    decode_lists,
    decode_retrieve_request,
    decode_retrieve_response,
)
from serving.wire.unmixed import encode_unmixed

__all__ = [
    "RankAsk",
    "RetrieveAsk",
    "RetrieveBatch",
    "SeenMedia",
    "Sourced",
    "decode_candidates",
    "decode_contexts",
    "decode_lists",
    "decode_rank_request",
    "decode_rank_response",
    "decode_retrieve_request",
    "decode_retrieve_response",
    "decode_seen",
    "encode_candidates",
    "encode_contexts",
    "encode_rank_request",
    "encode_rank_response",
    "encode_unmixed",
]
