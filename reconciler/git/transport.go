// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/go-git/go-git/v5/plumbing/transport/client"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

// maxReceived bounds what is read from one connection, in bytes. Packs are held
// to Remote.MaxBytes before that; this is for what go-git reads whole and without
// a bound: lists of references, and the text beside an error status.
const maxReceived = 256 << 20

// The table of protocols is go-git's only door to the transport, and is global.
// It must hold an *http.Transport, which go-git copies to add certificates; so the
// bound sits below it, on connections, each of which serves one request. What is
// counted there is what is read: nothing is inflated on the way, where a few hundred
// KiB make as much as a server likes. Packs are compressed in themselves.
func init() {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableKeepAlives, t.DisableCompression = true, true
	t.DialContext = boundedDial(t.DialContext)
	bounded := githttp.NewClient(&http.Client{Transport: t})
	client.InstallProtocol("http", bounded)
	client.InstallProtocol("https", bounded)
}

type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

func boundedDial(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return bound(conn, maxReceived), nil
	}
}

// boundedConn ends with ErrTooLarge after a number of bytes.
type boundedConn struct {
	net.Conn
	left atomic.Int64
}

func bound(conn net.Conn, limit int64) net.Conn {
	b := &boundedConn{Conn: conn}
	b.left.Store(limit)
	return b
}

func (b *boundedConn) Read(p []byte) (int, error) {
	if b.left.Load() <= 0 {
		return 0, ErrTooLarge
	}
	n, err := b.Conn.Read(p)
	b.left.Add(-int64(n))
	return n, err
}
