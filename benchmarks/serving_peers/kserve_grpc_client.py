"""KServe's own gRPC client against a running service: readiness, and one inference compared with the golden answer.

    python benchmarks/serving_peers/kserve_grpc_client.py PORT SELFTEST.npz [TOKEN]

Runs in an environment with the package kserve; `benchmarks/serving.py --only kserve-client` makes one and calls it.
"""

from __future__ import annotations

import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferInput, InferRequest


async def main() -> None:
    with np.load(sys.argv[2]) as golden:
        images, expected = golden["images"][:4], golden["probabilities"][0][:4]
    metadata = [("authorization", f"Bearer {sys.argv[3]}")] if len(sys.argv) > 3 else None
    client = InferenceGRPCClient(url=f"127.0.0.1:{sys.argv[1]}", timeout=30)
    assert await client.is_server_live(headers=metadata)
    assert await client.is_server_ready(headers=metadata)
    assert await client.is_model_ready("cnn", headers=metadata)
    tensor = InferInput("image", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images, binary_data=True)
    answer = await client.infer(InferRequest(model_name="cnn", infer_inputs=[tensor]), headers=metadata)
    values = answer.outputs[0].as_numpy()
    assert np.allclose(values, expected, atol=0.02), (values, expected)
    await client.close()
    print("KServe's gRPC client finds the service live and ready, and gets the expected answers.")


if __name__ == "__main__":
    asyncio.run(main())
