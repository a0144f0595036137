package peer

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/wire/memnet"
)

const testCluster = "abcdefghijklmnopqrstuv"

// echo answers a call with its body, and keeps messages.
type echo struct {
	call func(ctx context.Context, from int32, kind uint8, body []byte) (Reply, error)

	mu       sync.Mutex
	messages []string
}

func (h *echo) Call(ctx context.Context, from int32, kind uint8, body []byte) (Reply, error) {
	if h.call != nil {
		return h.call(ctx, from, kind, body)
	}
	return Reply{Pieces: [][]byte{[]byte(fmt.Sprintf("%d/%d:", from, kind)), body}}, nil
}

func (h *echo) Message(from int32, kind uint8, body []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.messages = append(h.messages, fmt.Sprintf("%d/%d:%s", from, kind, body))
}

func (h *echo) got() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.messages)
}

// diary keeps what Events tells.
type diary struct {
	mu      sync.Mutex
	entries []string
	refused []*RefusedError
	reasons []error
}

func (d *diary) events() Events {
	put := func(format string, args ...any) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.entries = append(d.entries, fmt.Sprintf(format, args...))
	}
	return Events{
		Connected: func(remote Identity, _ string, accepted bool) { put("connected %d %v", remote.NodeID, accepted) },
		Disconnected: func(node int32, _ string, accepted bool, reason error) {
			put("disconnected %d %v: %v", node, accepted, reason)
			d.mu.Lock()
			defer d.mu.Unlock()
			d.reasons = append(d.reasons, reason)
		},
		Refused: func(r *RefusedError) {
			put("refused: %v", r)
			d.mu.Lock()
			defer d.mu.Unlock()
			d.refused = append(d.refused, r)
		},
	}
}

func (d *diary) has(part string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.ContainsFunc(d.entries, func(e string) bool { return strings.Contains(e, part) })
}

func (d *diary) firstRefusal() *RefusedError {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.refused) == 0 {
		return nil
	}
	return d.refused[0]
}

func (d *diary) ends() []error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.reasons)
}

func identity(node int32) Identity {
	return Identity{ClusterID: testCluster, NodeID: node, Incarnation: [16]byte{byte(node), 1}, Epoch: -1, MinFeature: 1, MaxFeature: 1}
}

// plain is a config over a network in memory.
func plain(t testing.TB, n *memnet.Network, node int32) Config {
	t.Helper()
	l, err := n.Listen(fmt.Sprintf("node-%d:1", node))
	require.NoError(t, err)
	return Config{Identity: identity(node), Listener: l, Dial: n.DialContext, Plaintext: true, Handler: &echo{}, Seed: 1}
}

func listen(t testing.TB, c Config) *Endpoint {
	t.Helper()
	e, err := Listen(c)
	require.NoError(t, err)
	t.Cleanup(func() { e.Close() })
	return e
}

// ask calls and returns the answer.
func ask(ctx context.Context, p *Peer, kind uint8, body string) (string, error) {
	var answer string
	err := p.Call(ctx, kind, []byte(body), func(b []byte) error { answer = string(b); return nil })
	return answer, err
}
