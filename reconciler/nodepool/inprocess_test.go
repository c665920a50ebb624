// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/espalier-dev/espalier/test/fakearm"
)

// inProcess hands requests to the fake without a connection: some thousand lives of
// the controller would spend a good part of them on handshakes. TestCluster and the
// tests of gpu/aks go over TLS.
type inProcess struct{ arm *fakearm.Server }

func (p inProcess) Do(r *http.Request) (resp *http.Response, err error) {
	defer func() {
		switch cut := recover(); cut {
		case nil:
		case http.ErrAbortHandler:
			resp, err = nil, io.ErrUnexpectedEOF
		default:
			panic(cut)
		}
	}()
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	out := httptest.NewRecorder()
	p.arm.ServeHTTP(out, in)
	resp = out.Result()
	resp.Request = r
	return resp, nil
}
