// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"fmt"
	"net"

	"golang.org/x/net/dns/dnsmessage"
)

// serveNames answers the pods' questions for addresses: whatever the name, it is this
// machine. So a test can give a server of its own the name that a rule asks for. It
// ends when the connection is closed.
func serveNames(address string) (net.PacketConn, error) {
	conn, err := net.ListenPacket("udp", net.JoinHostPort(address, "53"))
	if err != nil {
		return nil, fmt.Errorf("listening for questions of DNS: %w", err)
	}
	self := dnsmessage.AResource{A: [4]byte(net.ParseIP(address).To4())}
	go func() {
		question := make([]byte, 512)
		for {
			n, from, err := conn.ReadFrom(question)
			if err != nil {
				return
			}
			if answer, err := answer(question[:n], self); err == nil {
				_, _ = conn.WriteTo(answer, from) // who hears nothing asks again
			}
		}
	}()
	return conn, nil
}

// answer to a question: an IPv4 address for a name, and nothing for all else.
func answer(question []byte, self dnsmessage.AResource) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(question); err != nil {
		return nil, err
	}
	m.Response, m.Authoritative, m.Additionals = true, true, nil
	for _, q := range m.Questions {
		if q.Type == dnsmessage.TypeA {
			header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &self})
		}
	}
	return m.Pack()
}
