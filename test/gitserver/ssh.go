// SPDX-License-Identifier: Apache-2.0

package gitserver

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"

	"golang.org/x/crypto/ssh"
)

// SSH serves the same repositories over SSH, to one key that it makes.
type SSH struct {
	server   *Server
	listener net.Listener
	config   *ssh.ServerConfig
	identity []byte
	known    string
}

// StartSSH starts serving over SSH. Close the Server after it.
func (s *Server) StartSSH() (*SSH, error) {
	_, hostKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a host key: %w", err)
	}
	host, err := ssh.NewSignerFromKey(hostKey)
	if err != nil {
		return nil, fmt.Errorf("making a host key: %w", err)
	}
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	allowed, err := ssh.NewPublicKey(public)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	config := &ssh.ServerConfig{
		PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
			if !bytes.Equal(key.Marshal(), allowed.Marshal()) {
				return nil, errors.New("not the key")
			}
			return nil, nil
		},
	}
	config.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for SSH: %w", err)
	}
	x := &SSH{server: s, listener: l, config: config, identity: pem.EncodeToMemory(block)}
	hostname, port, _ := net.SplitHostPort(l.Addr().String())
	x.known = fmt.Sprintf("[%s]:%s %s", hostname, port, ssh.MarshalAuthorizedKey(host.PublicKey()))
	go x.accept()
	return x, nil
}

// URL is the clone address of a repository.
func (x *SSH) URL(repo string) string {
	return "ssh://git@" + x.listener.Addr().String() + "/" + repo + ".git"
}

// Identity is the private key, in PEM, that may clone and push.
func (x *SSH) Identity() []byte { return x.identity }

// KnownHosts is the line of known_hosts for the server.
func (x *SSH) KnownHosts() []byte { return []byte(x.known) }

// Close stops serving.
func (x *SSH) Close() error { return x.listener.Close() }

func (x *SSH) accept() {
	for {
		conn, err := x.listener.Accept()
		if err != nil {
			return
		}
		go x.serve(conn)
	}
}

func (x *SSH) serve(conn net.Conn) {
	_, channels, requests, err := ssh.NewServerConn(conn, x.config)
	if err != nil {
		_ = conn.Close()
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		if c.ChannelType() != "session" {
			_ = c.Reject(ssh.UnknownChannelType, "sessions only")
			continue
		}
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		go x.session(channel, requests)
	}
}

// session runs the one command that a session may ask for.
func (x *SSH) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer func() { _ = channel.Close() }()
	for r := range requests {
		if r.Type != "exec" || len(r.Payload) < 4 {
			_ = r.Reply(r.Type == "env", nil)
			continue
		}
		_ = r.Reply(true, nil)
		status := byte(0)
		if err := x.exec(channel, string(r.Payload[4:])); err != nil {
			status = 1
		}
		_, _ = channel.SendRequest("exit-status", false, []byte{0, 0, 0, status})
		return
	}
}

func (x *SSH) exec(channel ssh.Channel, line string) error {
	service, path, _ := strings.Cut(line, " ")
	repo := strings.TrimSuffix(strings.Trim(path, "'/"), ".git")
	if service != "git-upload-pack" && service != "git-receive-pack" || !repoName.MatchString(repo) || strings.Contains(repo, "..") {
		_, _ = fmt.Fprintln(channel.Stderr(), "no such service")
		return errors.New("no such service")
	}
	cmd := exec.Command(x.server.git, strings.TrimPrefix(service, "git-"), x.server.Dir(repo))
	cmd.Env = gitEnv()
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	// Not cmd.Stdin: Run would wait for the client to close its side.
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(in, channel)
		_ = in.Close()
	}()
	return cmd.Wait()
}
