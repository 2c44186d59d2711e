#!/bin/sh
# Takes the money. CHECKOUT_TIMEOUT: seconds to wait for the bank.
CHECKOUT_TIMEOUT=1
echo "waiting $CHECKOUT_TIMEOUT s"
