// SPDX-License-Identifier: Apache-2.0

package main

// What other programs find in files of the machine is in the binary too, for an
// image that holds nothing else: the time zones, by which schedules are judged the
// same everywhere, and the root certificates of Mozilla. Both are a last resort.
// Certificates of the machine, or of SSL_CERT_FILE and SSL_CERT_DIR, are used in
// their place and not beside them.
import (
	_ "time/tzdata"

	_ "golang.org/x/crypto/x509roots/fallback"
)
