package replication

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/internal/wire/peer"
)

// parts are controllers of nodes without stores and sockets. Their time is that of a synctest bubble.
type parts struct {
	t *testing.T

	mu  sync.Mutex
	all map[int32]*part
	cut map[[2]int32]bool
	// calling is asked about every call, and every look at an address (to is -1); nil: nothing is held up.
	calling func(ctx context.Context, from, to int32, body []byte) error
}

func (ps *parts) mayCall(ctx context.Context, from, to int32, body []byte) error {
	ps.mu.Lock()
	calling := ps.calling
	ps.mu.Unlock()
	if calling == nil {
		return nil
	}
	return calling(ctx, from, to, body)
}

// part is one node: its disk outlives its controllers.
type part struct {
	*controller
	parts   *parts
	id      int32
	fs      *vfs.Mem
	shared  *sharedCatalogue
	epoch   int64 // noted on its disk
	ballot  ballot
	run     sync.WaitGroup
	running bool

	mu      sync.Mutex
	results []control.Result
	resets  int
	failure error
	events  []string
}

// sharedCatalogue stands for a store's.
type sharedCatalogue struct {
	mu      sync.Mutex
	Index   uint64
	Entries []string
	full    error
}

func (s *sharedCatalogue) AppliedShared() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Index
}

func (s *sharedCatalogue) ApplyShared(index uint64, kind uint8, payload []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full != nil {
		return s.full
	}
	if index <= s.Index {
		return fmt.Errorf("change %d comes after %d", index, s.Index)
	}
	s.Index = index
	s.Entries = append(s.Entries, fmt.Sprintf("%d:%s", kind, payload))
	return nil
}

func (s *sharedCatalogue) ExportShared() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, _ := json.Marshal(s.Entries)
	return b
}

func (s *sharedCatalogue) ImportShared(index uint64, state []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Index, s.Entries = index, nil
	return json.Unmarshal(state, &s.Entries)
}

func (s *sharedCatalogue) list() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.Entries...)
}

// network of a part: calls and messages go straight to the other, unless the way is cut.

func (p *part) set(int32, string) {}
func (p *part) remove(int32)      {}

func (p *part) other(to int32) *part {
	p.parts.mu.Lock()
	defer p.parts.mu.Unlock()
	q := p.parts.all[to]
	if q == nil || !q.running || p.parts.cut[[2]int32{p.id, to}] {
		return nil
	}
	return q
}

func (p *part) send(to int32, kind uint8, body []byte) {
	if q := p.other(to); q != nil {
		q.message(p.id, kind, body)
	}
}

func (p *part) discover(ctx context.Context, _ string) (int32, error) {
	return -1, cmp.Or(p.parts.mayCall(ctx, p.id, -1, nil), error(ErrNodeNotAvailable))
}

func (p *part) call(ctx context.Context, to int32, kind uint8, body []byte, reply func([]byte) error) error {
	if err := p.parts.mayCall(ctx, p.id, to, body); err != nil {
		return err
	}
	q := p.other(to)
	if q == nil {
		return &NodeError{to, ErrNodeNotAvailable}
	}
	var answer peer.Reply
	answer, err := q.serve(ctx, p.id, kind, body)
	if err != nil {
		return &NodeError{to, err}
	}
	if q.other(p.id) == nil {
		return &NodeError{to, ErrNodeNotAvailable}
	}
	if reply == nil {
		return nil
	}
	return reply(answer.Pieces[0])
}

func newParts(t *testing.T) *parts {
	ps := &parts{t: t, all: map[int32]*part{}, cut: map[[2]int32]bool{}}
	t.Cleanup(func() {
		for _, p := range ps.all {
			p.kill()
		}
	})
	return ps
}

const testSession = 2 * time.Second

// start starts a node: the first makes a cluster, others join.
func (ps *parts) start(id int32, change ...func(*Config)) *part {
	ps.mu.Lock()
	p := ps.all[id]
	if p == nil {
		p = &part{parts: ps, id: id, fs: vfs.NewCrashMem(vfs.Strict), shared: &sharedCatalogue{}, epoch: control.NoEpoch}
		require.NoError(ps.t, p.fs.Mkdir("/n", 0o700))
		require.NoError(ps.t, p.fs.SyncDir("/"))
		ps.all[id] = p
	}
	ps.mu.Unlock()
	config := Config{NodeID: id, SessionTimeout: testSession, HeartbeatInterval: 200 * time.Millisecond, ElectionTimeout: 200 * time.Millisecond, CloseTimeout: 5 * time.Second}
	for peer := range int32(3) {
		config.Peers = append(config.Peers, Peer{NodeID: peer, Address: fmt.Sprint("node", peer)})
	}
	for _, f := range change {
		f(&config)
	}
	config = config.withDefaults()
	config.Events.Fenced = func(fenced bool, reason string) { p.note(fmt.Sprint("fenced ", fenced)) }
	config.Events.Rejoined = func(reason string) { p.note("rejoined") }
	c := &controller{
		id: id, config: config, clock: clock.System, events: config.Events, fs: p.fs, dir: "/n/quorum", net: p, catalogue: p.shared, work: &p.run,
		identity: identity{
			incarnation: [16]byte{byte(drawNonce()), byte(drawNonce()), byte(drawNonce()), byte(drawNonce()), byte(id + 1)}, address: fmt.Sprint("node", id), previous: p.epoch,
			registered: func(epoch int64) error { p.epoch = epoch; return nil }, ballot: p.ballot, balloted: func(b ballot) error { p.ballot = b; return nil },
		},
		applied: func(r control.Result) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.results = append(p.results, r)
		},
		restored: func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.resets++
		},
		failed: func(err error) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.failure = err
		},
	}
	c.prepare()
	p.controller = c
	require.NoError(ps.t, c.openRaft(func() ([]byte, error) {
		if id == 0 {
			return encodeState(control.Bootstrap(control.Node{ID: 0, MinFeature: 1, MaxFeature: control.MaxLevel}, control.ClusterConfig{MinISR: 1}, nil), p.shared), nil
		}
		return nil, nil
	}))
	ps.mu.Lock()
	p.running = true
	ps.mu.Unlock()
	c.start()
	return p
}

func (p *part) note(event string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = append(p.events, event)
}

func (p *part) said(event string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Contains(p.events, event)
}

// kill ends the controller without a word.
func (p *part) kill() {
	p.parts.mu.Lock()
	was := p.running
	p.running = false
	p.parts.mu.Unlock()
	if was {
		_ = p.close(false)
		p.run.Wait()
	}
}

// three starts three nodes, of which two join the first.
func (ps *parts) three() (a, b, c *part) {
	a = ps.start(0)
	ps.until("a leads", func() bool { leader, _ := a.leader(); return leader == 0 })
	b, c = ps.start(1), ps.start(2)
	ps.until("all vote and are active", func() bool {
		return ps.voters() == 3 && ps.active() == 3 && !a.isolated() && !b.isolated() && !c.isolated()
	})
	return a, b, c
}

// until lets time pass until something is so.
func (ps *parts) until(what string, so func() bool) {
	for range 3000 {
		synctest.Wait()
		if so() {
			return
		}
		time.Sleep(10 * time.Millisecond) // of the bubble
	}
	require.Fail(ps.t, "never: "+what)
}

func (ps *parts) voters() int {
	for _, p := range ps.all {
		if leader, _ := p.leader(); p.running && leader == p.id {
			q, err := p.describe(context.Background())
			if err != nil {
				return 0
			}
			return len(q.Voters)
		}
	}
	return 0
}

// active is how many nodes the leader has unfenced.
func (ps *parts) active() (n int) {
	for _, p := range ps.all {
		if leader, _ := p.leader(); p.running && leader == p.id {
			n = 0
			p.read(func(m *control.Machine) {
				for _, node := range m.Nodes() {
					if node.Active() {
						n++
					}
				}
			})
		}
	}
	return n
}

// tell proposes a change of the catalogue.
func (p *part) tell(text string) (control.Result, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return p.propose(ctx, control.Catalogue{Event: control.Event{Expect: p.shared.AppliedShared(), Kind: 9, Payload: []byte(text)}})
}
