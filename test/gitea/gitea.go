// SPDX-License-Identifier: Apache-2.0

// Package gitea starts a real Gitea for tests: the program that `make e2e-forge`
// builds, with SQLite, in a folder of its own, on the loopback interface.
//
// It makes users, tokens and repositories, and renders Markdown as a reader sees
// it. What the product does there, the product does by itself.
package gitea

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"code.gitea.io/sdk/gitea"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/port"
)

// ErrNotBuilt says that there is no Gitea to start.
var ErrNotBuilt = errors.New("gitea is not built: run `make e2e-forge` once, which takes 10 to 20 minutes")

// Password of every user.
const Password = "correct-horse-battery-staple"

// admin is the first user, who makes the others.
const admin = "steward"

// Server is a running Gitea.
type Server struct {
	// URL people and programs reach it at.
	URL string
	// Admin may do everything.
	Admin *gitea.Client

	dir, binary string
	cmd         *exec.Cmd
	exited      chan error
}

// Start starts a Gitea that knows nothing, and returns when it answers.
func Start(ctx context.Context) (*Server, error) {
	root, err := cluster.Root()
	if err != nil {
		return nil, err
	}
	bin := filepath.Join(root, "bin")
	if !cluster.ForgeIsBuilt(bin) {
		return nil, ErrNotBuilt
	}
	s := &Server{binary: filepath.Join(bin, "gitea"), exited: make(chan error, 1)}
	if s.dir, err = os.MkdirTemp("", "espalier-gitea-"); err != nil {
		return nil, fmt.Errorf("making a folder for Gitea: %w", err)
	}
	if err := s.start(ctx, filepath.Join(root, "test", "cluster", "gitea")); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Server) start(ctx context.Context, module string) error {
	address, err := port.FreeAddress()
	if err != nil {
		return err
	}
	s.URL = "http://" + address
	if err := s.configure(ctx, address, module); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"migrate"},
		{"admin", "user", "create", "--admin", "--username", admin, "--password", Password, "--email", admin + "@example.com", "--must-change-password=false"},
	} {
		if out, err := s.command(ctx, args...).CombinedOutput(); err != nil {
			return fmt.Errorf("gitea %s: %w: %s", args[0], err, out)
		}
	}
	s.cmd = s.command(context.WithoutCancel(ctx), "web")
	s.cmd.SysProcAttr = dieWithParent()
	if err := s.cmd.Start(); err != nil {
		return fmt.Errorf("starting Gitea: %w", err)
	}
	go func() { s.exited <- s.cmd.Wait() }()
	if err := s.waitReady(ctx); err != nil {
		return err
	}
	s.Admin, err = gitea.NewClient(s.URL, gitea.SetBasicAuth(admin, Password), gitea.SetGiteaVersion(""))
	if err != nil {
		return fmt.Errorf("connecting to Gitea: %w", err)
	}
	return nil
}

// settings of Gitea: %[1]s is its folder, %[2]s its address, %[3]s its port and
// %[4]s its own module, which holds the templates.
const settings = `RUN_MODE = prod
RUN_USER = %[5]s
I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
WORK_PATH = %[1]s
[server]
HTTP_ADDR = 127.0.0.1
HTTP_PORT = %[3]s
ROOT_URL = http://%[2]s/
STATIC_ROOT_PATH = %[4]s
DISABLE_SSH = true
OFFLINE_MODE = true
[database]
DB_TYPE = sqlite3
[security]
INSTALL_LOCK = true
PASSWORD_HASH_ALGO = pbkdf2$1000$50
[repository]
DEFAULT_BRANCH = main
[webhook]
ALLOWED_HOST_LIST = *
[indexer]
ISSUE_INDEXER_TYPE = db
[actions]
ENABLED = false
[log]
MODE = file
LEVEL = Info
`

func (s *Server) configure(ctx context.Context, address, module string) error {
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "code.gitea.io/gitea")
	list.Dir, list.Env = module, append(os.Environ(), "GOWORK=off")
	static, err := list.Output()
	if err != nil {
		return fmt.Errorf("finding the templates of Gitea: %w", err)
	}
	user := os.Getenv("USER")
	if os.Getuid() == 0 || user == "" {
		user = "root"
	}
	_, port, _ := net.SplitHostPort(address)
	text := fmt.Sprintf(settings, s.dir, address, port, strings.TrimSpace(string(static)), user)
	if err := os.WriteFile(filepath.Join(s.dir, "app.ini"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("writing the settings of Gitea: %w", err)
	}
	return nil
}

func (s *Server) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.binary, append([]string{"--config", filepath.Join(s.dir, "app.ini"), "--work-path", s.dir}, args...)...)
	cmd.Env = append(os.Environ(), "HOME="+s.dir, "USER=root", "GIT_CONFIG_NOSYSTEM=1")
	return cmd
}

func (s *Server) waitReady(ctx context.Context) error {
	err := wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		select {
		case err := <-s.exited:
			s.exited <- err
			return false, fmt.Errorf("it ended: %w", err)
		default:
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.URL+"/api/healthz", nil)
		if err != nil {
			return false, err
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, nil
		}
		defer resp.Body.Close()
		return resp.StatusCode == http.StatusOK, nil
	})
	if err != nil {
		return fmt.Errorf("waiting for Gitea: %w\n%s", err, s.Log())
	}
	return nil
}

// Log is what Gitea wrote to its log.
func (s *Server) Log() string {
	text, err := os.ReadFile(filepath.Join(s.dir, "log", "gitea.log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Stop ends Gitea and removes its folder.
func (s *Server) Stop() error {
	if s.cmd != nil && s.cmd.Process != nil {
		_ = s.cmd.Process.Kill()
		<-s.exited
	}
	return os.RemoveAll(s.dir)
}

// User is an account.
type User struct {
	*gitea.Client
	Name string
	// Token of the account, with the rights that were asked for.
	Token string
}

// NewUser makes an account with a token of some rights.
func (s *Server) NewUser(name string, rights ...gitea.AccessTokenScope) (*User, error) {
	_, _, err := s.Admin.AdminCreateUser(gitea.CreateUserOption{
		Username: name, LoginName: name, Email: name + "@example.com", Password: Password, MustChangePassword: new(false),
	})
	if err != nil {
		return nil, fmt.Errorf("making the user %s: %w", name, err)
	}
	own, err := gitea.NewClient(s.URL, gitea.SetBasicAuth(name, Password), gitea.SetGiteaVersion(""))
	if err != nil {
		return nil, fmt.Errorf("connecting as %s: %w", name, err)
	}
	token, _, err := own.CreateAccessToken(gitea.CreateAccessTokenOption{Name: "test", Scopes: rights})
	if err != nil {
		return nil, fmt.Errorf("making a token of %s: %w", name, err)
	}
	// A connection that lay idle may be closed by now, and a POST is not repeated.
	fresh := http.DefaultTransport.(*http.Transport).Clone()
	fresh.DisableKeepAlives = true
	client, err := gitea.NewClient(s.URL, gitea.SetToken(token.Token), gitea.SetGiteaVersion(""), gitea.SetHTTPClient(&http.Client{Transport: fresh}))
	if err != nil {
		return nil, fmt.Errorf("connecting as %s: %w", name, err)
	}
	return &User{Client: client, Name: name, Token: token.Token}, nil
}

// CloneURL is the address of a repository with the credentials of a user.
func (s *Server) CloneURL(u *User, repository string) string {
	return strings.Replace(s.URL, "http://", "http://"+u.Name+":"+Password+"@", 1) + "/" + repository + ".git"
}
