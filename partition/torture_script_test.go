package partition_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
)

// A script is a sequence of steps, each a letter. Every batch has another content, but equal scripts give equal disks.
type script string

var (
	tpPlain = partition.TopicPartition{Topic: "a", Partition: 0}
	tpIdem  = partition.TopicPartition{Topic: "a", Partition: 1}
	tpOther = partition.TopicPartition{Topic: "b", Partition: 0}
)

// steps by letter.
var steps = map[byte]struct {
	name string
	run  func(g *rig, s *scriptState) error
}{
	'p': {"append a plain batch", func(g *rig, _ *scriptState) error {
		return g.append(tpPlain, g.makeBatch(2, 40, -1, 0), partition.AcksAll)
	}},
	'i': {"append an idempotent batch", func(g *rig, s *scriptState) error { return s.appendIdempotent(g) }},
	'l': {"append with acks=1", func(g *rig, _ *scriptState) error {
		return g.append(tpPlain, g.makeBatch(1, 60, -1, 0), partition.AcksLeader)
	}},
	'L': {"append a large batch, which soon rolls", func(g *rig, _ *scriptState) error {
		return g.append(tpPlain, g.makeBatch(1, 600, -1, 0), partition.AcksAll)
	}},
	'o': {"append to the other topic", func(g *rig, _ *scriptState) error {
		return g.append(tpOther, g.makeBatch(1, 300, -1, 0), partition.AcksAll)
	}},
	't': {"a second passes", func(g *rig, _ *scriptState) error { return g.advance(time.Second) }},
	'r': {"retention", func(g *rig, _ *scriptState) error { return g.advance(5 * time.Minute) }},
	'd': {"delete the older half of the records", func(g *rig, _ *scriptState) error {
		if p := g.part(tpPlain); p != nil {
			start, err := g.store.ListOffsets(bg, tpPlain, partition.TimestampEarliest)
			if err != nil {
				return err
			}
			return g.deleteRecords(tpPlain, (start+p.end()+1)/2)
		}
		return nil
	}},
	'b': {"create or delete topic b", func(g *rig, _ *scriptState) error {
		if g.ledger.topics["b"] == nil {
			return g.createTopic("b", 1)
		}
		return g.deleteTopic("b")
	}},
	'a': {"delete or create topic a", func(g *rig, s *scriptState) error {
		s.sequence = 0
		if g.ledger.topics["a"] == nil {
			return g.createTopic("a", 2)
		}
		return g.deleteTopic("a")
	}},
	'g': {"create a partition of topic a", func(g *rig, _ *scriptState) error {
		if t := g.ledger.topics["a"]; t != nil && len(t.parts) > 3 {
			return nil
		}
		return g.grow("a")
	}},
	'c': {"close and open", func(g *rig, _ *scriptState) error { return g.reopen() }},
	'k': {"kill the process", func(g *rig, s *scriptState) error { return s.crash(g, killed) }},
	'x': {"lose power", func(g *rig, s *scriptState) error { return s.crash(g, powerLost) }},
}

func (s script) String() string {
	out := ""
	for i := range len(s) {
		if i > 0 {
			out += "; "
		}
		out += steps[s[i]].name
	}
	return out
}

// scriptState is what steps remember beside the ledger.
type scriptState struct {
	rng      *rand.Rand
	producer int64 // −1: has none yet
	sequence int32 // next
}

func newScriptState(seed uint64) *scriptState {
	return &scriptState{rng: rand.New(rand.NewPCG(seed, 7)), producer: -1}
}

func (s *scriptState) appendIdempotent(g *rig) error {
	if s.producer < 0 {
		id, err := g.store.InitProducerID(bg, "", 0, partition.NoProducerID)
		if err != nil {
			return err
		}
		if id.ID <= g.ledger.producerID {
			return fmt.Errorf("producer id %d was given away again; the last was %d", id.ID, g.ledger.producerID)
		}
		g.change(func() { g.ledger.producerID = id.ID })
		s.producer, s.sequence = id.ID, 0
	}
	if g.part(tpIdem) == nil {
		return nil
	}
	b := g.makeBatch(2, 30, s.producer, s.sequence)
	again := append([]byte(nil), b...)
	if err := g.append(tpIdem, b, partition.AcksAll); err != nil {
		return err
	}
	s.sequence += 2
	p := g.part(tpIdem)
	r, err := g.store.Append(bg, partition.AppendRequest{TopicPartition: tpIdem, Batch: again})
	if want := p.batches[len(p.batches)-1].base; err != nil || !r.Duplicate || r.BaseOffset != want {
		return fmt.Errorf("a batch sent twice: got %+v, %v; want a duplicate at %d", r, err, want)
	}
	return nil
}

// crash goes on after a crash. What is left of an idempotent producer's batches is its business: it begins anew.
func (s *scriptState) crash(g *rig, lost loss) error {
	after := g.mem.KillClone()
	if lost {
		after = g.mem.CrashClone(s.rng)
	}
	s.producer = -1
	return g.crash(after, lost)
}

// eachScript yields all scripts of exactly n letters of an alphabet.
func eachScript(alphabet string, n int, yield func(script) bool) bool {
	letters := make([]byte, n)
	var fill func(i int) bool
	fill = func(i int) bool {
		if i == n {
			return yield(script(letters))
		}
		for j := range len(alphabet) {
			letters[i] = alphabet[j]
			if !fill(i + 1) {
				return false
			}
		}
		return true
	}
	return fill(0)
}

// randomScript draws a script that appends more than it does anything else.
func randomScript(rng *rand.Rand, n int) script {
	const letters = "pppiiilLLLoottrdbagckx"
	b := make([]byte, n)
	for i := range b {
		b[i] = letters[rng.IntN(len(letters))]
	}
	return script(b)
}

// base is a disk that scripts begin with.
type base struct {
	name     string
	mode     partition.SyncMode
	disk     *vfs.Mem
	ledger   *ledger
	n        int
	producer int64
	sequence int32
}

// newBase makes a cleanly closed store with a topic that has some records; with no step at all an empty disk.
func newBase(profile vfs.Profile, mode partition.SyncMode, sc script) (*base, error) {
	g := newRig(vfs.NewCrashMem(profile), mode, newLedger())
	b := &base{name: map[vfs.Profile]string{vfs.Strict: "POSIX", vfs.Ext4Like: "ext4"}[profile], mode: mode, producer: -1}
	if sc != "" {
		if err := g.open(); err != nil {
			return nil, err
		}
		state := newScriptState(0)
		for i := range len(sc) {
			if err := steps[sc[i]].run(g, state); err != nil {
				return nil, err
			}
		}
		if err := g.store.Close(); err != nil {
			return nil, err
		}
		g.eachPart(func(_ partition.TopicPartition, p *ledgerPart) { p.durable = p.written })
		b.producer, b.sequence = state.producer, state.sequence
	}
	b.disk, b.ledger, b.n = g.mem, g.ledger, g.n
	return b, nil
}

// seeded is where topic ids come from while states are counted.
type seeded struct {
	mu  sync.Mutex
	rng *rand.ChaCha8
}

func (s *seeded) reseed(seed uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rng = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
}

// Read implements io.Reader.
func (s *seeded) Read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rng.Read(b)
}
