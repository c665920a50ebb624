// SPDX-License-Identifier: Apache-2.0

package git

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/net/proxy"
)

// deadlineScheme names the dialer below. go-git connects over SSH with no regard
// to a context: a server that accepts and says nothing would hold a goroutine for
// ever. Its one door is the choice of a proxy by the scheme of an address, so the
// deadline travels as such an address, and is set on the connection.
const deadlineScheme = "espalier-deadline"

func init() {
	proxy.RegisterDialerType(deadlineScheme, func(u *url.URL, forward proxy.Dialer) (proxy.Dialer, error) {
		nanos, err := strconv.ParseInt(u.Hostname(), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("reading a deadline: %w", err)
		}
		// A proxy of the environment (ALL_PROXY) is used as without the deadline.
		return deadlineDialer{deadline: time.Unix(0, nanos), next: proxy.FromEnvironmentUsing(forward)}, nil
	})
}

func deadlineURL(deadline time.Time) string {
	return deadlineScheme + "://" + strconv.FormatInt(deadline.UnixNano(), 10)
}

type deadlineDialer struct {
	deadline time.Time
	next     proxy.Dialer
}

// Dial connects with a background context: see DialContext.
func (d deadlineDialer) Dial(network, addr string) (net.Conn, error) {
	return d.DialContext(context.Background(), network, addr)
}

// DialContext connects before the deadline, and bounds all that follows by it.
func (d deadlineDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	ctx, cancel := context.WithDeadline(ctx, d.deadline)
	defer cancel()
	conn, err := d.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(d.deadline); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("setting a deadline: %w", err)
	}
	return bound(conn, maxReceived), nil
}

func (d deadlineDialer) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if next, ok := d.next.(proxy.ContextDialer); ok {
		return next.DialContext(ctx, network, addr)
	}
	return d.next.Dial(network, addr)
}
