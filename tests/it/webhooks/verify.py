"""Verifies a delivery with the PyPI package `standardwebhooks`, which is installed in the folder that is the first argument."""

import json
import sys

sys.path.insert(0, sys.argv[1])

from standardwebhooks import Webhook  # noqa: E402

delivery = json.load(sys.stdin)
print(Webhook(delivery["secret"]).verify(delivery["body"], delivery["headers"])["type"])
