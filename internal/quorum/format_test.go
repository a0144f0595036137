package quorum

import (
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/cryptotest"

	"github.com/stretchr/testify/require"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

func someImage() *image {
	change, err := proto.Marshal(Change{AddObserver, Member{9, 9}}.raft())
	if err != nil {
		panic(err)
	}
	return &image{
		self: Member{3, 7}, lineage: 0x1122334455667788, generation: 4, hard: hardState{term: 6, vote: 2, commit: 12},
		snapshot: snapshot{place: place{11, 5}, conf: &raftpb.ConfState{Voters: []uint64{1, 2, 4}, Learners: []uint64{9}}, data: []byte("state")},
		before:   place{10, 5},
		entries: []*raftpb.Entry{
			{Type: raftpb.EntryNormal.Enum(), Term: new(uint64(5)), Index: new(uint64(11)), Data: []byte("flight LH1")},
			{Type: raftpb.EntryConfChange.Enum(), Term: new(uint64(6)), Index: new(uint64(12)), Data: change},
			{Type: raftpb.EntryNormal.Enum(), Term: new(uint64(6)), Index: new(uint64(13))},
		},
	}
}

func someMessage() *raftpb.Message {
	return &raftpb.Message{
		Type: raftpb.MsgApp.Enum(), From: new(Member{1, 0}.id()), To: new(Member{2, 0}.id()), Term: new(uint64(6)), LogTerm: new(uint64(5)),
		Index: new(uint64(10)), Commit: new(uint64(11)), Entries: someImage().entries,
	}
}

// The bytes on disk and between nodes stay as they are: what an older program wrote is read.
func TestGoldenBytesOpenForEver(t *testing.T) {
	im, err := appendImage(nil, someImage())
	require.NoError(t, err)
	message, err := encodeMessage(0x1122334455667788, someMessage())
	require.NoError(t, err)
	for name, b := range map[string][]byte{
		"image":   im,
		"ready":   appendReady(nil, &readyRecord{hard: someImage().hard, entries: someImage().entries}),
		"base":    appendBase(nil, 4),
		"message": message,
		"piece":   Split([]byte("a message"), 100)[0],
	} {
		path := filepath.Join("testdata", "golden", name+".v1.hex")
		if os.Getenv("PARTLOG_GOLDEN") != "" {
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, []byte(hex.EncodeToString(b)+"\n"), 0o644))
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		golden, err := hex.DecodeString(strings.TrimSpace(string(text)))
		require.NoError(t, err)
		require.Equal(t, golden, b, name)
	}
	m, err := decodeImage(im)
	require.NoError(t, err)
	require.Equal(t, someImage().self, m.self)
	require.Equal(t, someImage().hard, m.hard)
	require.Len(t, m.entries, 3)
	require.EqualValues(t, 13, m.entries[2].GetIndex())
}

func TestANewerFormatIsRefusedAsOne(t *testing.T) {
	im, err := appendImage(nil, someImage())
	require.NoError(t, err)
	im[0]++
	_, err = decodeImage(im)
	require.ErrorIs(t, err, ErrNewerVersion)
	ready := appendReady(nil, &readyRecord{})
	ready[0]++
	_, err = decodeReady(ready)
	require.ErrorIs(t, err, ErrNewerVersion)
	message, err := encodeMessage(1, someMessage())
	require.NoError(t, err)
	message[0]++
	_, _, err = decodeMessage(message)
	require.ErrorIs(t, err, ErrNewerVersion)
	require.Contains(t, Describe(message), "newer")
}

// What no member sends is refused before raft sees it.
func TestImpossibleMessagesAreRefused(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 50)
	c := newCluster(t, 1).bootstrap(3)
	l := c.elect()
	c.commit("one")
	p := c.peer((l.self.Node + 1) % 3)
	term, last := l.out.Term, l.handed
	base := func() *raftpb.Message {
		return &raftpb.Message{
			Type: raftpb.MsgApp.Enum(), From: new(l.self.id()), To: new(p.self.id()), Term: new(term), LogTerm: new(term), Index: new(last),
			Commit: new(last),
		}
	}
	require.NoError(t, p.raft.Step(l.self.Node, encoded(t, p, base())))
	p.drain()
	for name, change := range map[string]func(*raftpb.Message){
		"local":                    func(m *raftpb.Message) { m.Type = raftpb.MsgHup.Enum() },
		"local storage":            func(m *raftpb.Message) { m.Type = raftpb.MsgStorageAppendResp.Enum() },
		"proposal":                 func(m *raftpb.Message) { m.Type = raftpb.MsgProp.Enum() },
		"unknown kind":             func(m *raftpb.Message) { m.Type = raftpb.MessageType(99).Enum() },
		"no term":                  func(m *raftpb.Message) { m.Term = nil },
		"from nobody":              func(m *raftpb.Message) { m.From = new(uint64(0)) },
		"from raft's own":          func(m *raftpb.Message) { m.From = new(uint64(1<<64 - 1)) },
		"snapshot without one":     func(m *raftpb.Message) { m.Type = raftpb.MsgSnap.Enum() },
		"a snapshot beside":        func(m *raftpb.Message) { m.Snapshot = &raftpb.Snapshot{} },
		"gap":                      func(m *raftpb.Message) { m.Entries = []*raftpb.Entry{{Index: new(last + 2), Term: new(term)}} },
		"entry of a later term":    func(m *raftpb.Message) { m.Entries = []*raftpb.Entry{{Index: new(last + 1), Term: new(term + 1)}} },
		"entry of an earlier term": func(m *raftpb.Message) { m.Entries = []*raftpb.Entry{{Index: new(last + 1), Term: new(term - 1)}} },
		"responses":                func(m *raftpb.Message) { m.Responses = []*raftpb.Message{{}} },
		"joint change": func(m *raftpb.Message) {
			m.Entries = []*raftpb.Entry{{Index: new(last + 1), Term: new(term), Type: raftpb.EntryConfChangeV2.Enum()}}
		},
		"change of nobody": func(m *raftpb.Message) {
			m.Entries = []*raftpb.Entry{{Index: new(last + 1), Term: new(term), Type: raftpb.EntryConfChange.Enum()}}
		},
		"entries with a heartbeat": func(m *raftpb.Message) {
			m.Type = raftpb.MsgHeartbeat.Enum()
			m.Entries = []*raftpb.Entry{{Index: new(last + 1), Term: new(term)}}
		},
		"joint members": func(m *raftpb.Message) {
			m.Type = raftpb.MsgSnap.Enum()
			m.Snapshot = &raftpb.Snapshot{Metadata: &raftpb.SnapshotMetadata{
				Index: new(last + 5), Term: new(term), ConfState: &raftpb.ConfState{Voters: []uint64{1, 2, 3}, VotersOutgoing: []uint64{4}},
			}}
		},
	} {
		m := base()
		change(m)
		require.ErrorIs(t, p.raft.Step(l.self.Node, encoded(t, p, m)), ErrMalformed, name)
		require.NoError(t, p.raft.Err(), name)
		require.Equal(t, EventRefused, p.warn[len(p.warn)-1].Kind)
	}
	ack := base()
	ack.Type, ack.From, ack.To, ack.Index = raftpb.MsgAppResp.Enum(), new(p.self.id()), new(l.self.id()), new(last+9)
	require.ErrorIs(t, l.raft.Step(p.self.Node, encoded(t, p, ack)), ErrMalformed, "acknowledgement of what is not there")
	changed := encoded(t, p, base())
	changed[len(changed)-1] ^= 1
	require.ErrorIs(t, p.raft.Step(l.self.Node, changed), ErrMalformed)
	c.tick(2)
	c.commit("two")
}

func encoded(t testing.TB, p *peer, m *raftpb.Message) []byte {
	b, err := encodeMessage(p.raft.Lineage(), m)
	require.NoError(t, err)
	return b
}

func FuzzRecords(f *testing.F) {
	im, err := appendImage(nil, someImage())
	require.NoError(f, err)
	f.Add(im)
	f.Add(appendReady(nil, &readyRecord{hard: someImage().hard, entries: someImage().entries}))
	f.Add(appendBase(nil, 1<<63))
	f.Add([]byte{1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decodeImage(b); err == nil {
			again, err := appendImage(nil, m)
			require.NoError(t, err)
			same, err := decodeImage(again)
			require.NoError(t, err)
			require.Equal(t, m.hard, same.hard)
			require.Equal(t, m.before, same.before)
			require.Len(t, same.entries, len(m.entries))
			l := &raftLog{image: *m}
			_, _, err = l.members() // errors are allowed, panics are not
			_ = err
			_, err = l.Entries(l.first(), l.last()+1, 100)
			require.NoError(t, err)
		} else {
			require.NotEmpty(t, err.Error())
		}
		if r, err := decodeReady(b); err == nil {
			same, err := decodeReady(appendReady(nil, r))
			require.NoError(t, err)
			require.Equal(t, r.hard, same.hard)
			require.Len(t, same.entries, len(r.entries))
		}
		if g, err := decodeBase(b); err == nil {
			same, err := decodeBase(appendBase(nil, g))
			require.NoError(t, err)
			require.Equal(t, g, same)
		}
	})
}

// Whatever a peer sends: an error or not, but raft never panics at it, with the one exception of what the leader alone can
// say, that committed entries are others: then the member fails, and the host lives.
func FuzzStep(f *testing.F) {
	message, err := encodeMessage(1, someMessage())
	require.NoError(f, err)
	f.Add(message[messageHeader:], uint8(0))
	for _, kind := range []raftpb.MessageType{raftpb.MsgVote, raftpb.MsgAppResp, raftpb.MsgHeartbeat, raftpb.MsgSnap, raftpb.MsgTimeoutNow, raftpb.MsgPreVoteResp} {
		m := someMessage()
		m.Type, m.Entries = kind.Enum(), nil
		if kind == raftpb.MsgSnap {
			m.Snapshot = someImage().snapshot.raft()
		}
		b, err := proto.Marshal(m)
		require.NoError(f, err)
		f.Add(b, uint8(kind))
	}
	f.Fuzz(func(t *testing.T, body []byte, which uint8) {
		c := newCluster(t, 1).bootstrap(3)
		l := c.elect()
		target := c.peers[which%3]
		from := (target.self.Node + 1) % 3
		m := &raftpb.Message{}
		if proto.Unmarshal(body, m) != nil {
			return
		}
		m.From, m.To = new(Member{Node: from}.id()), new(target.self.id())
		b := binary.BigEndian.AppendUint64([]byte{formatVersion}, target.raft.Lineage())
		rest, err := proto.Marshal(m)
		if err != nil {
			return
		}
		b = append(append(b, 0, 0, 0, 0), rest...)
		binary.BigEndian.PutUint32(b[9:], messageCRC(b))
		_ = target.raft.Step(from, b)
		for range 3 {
			if target.raft.Err() != nil {
				break
			}
			_ = target.raft.Tick()
			for _, ok := target.raft.Ready(); ok; _, ok = target.raft.Ready() {
			}
		}
		_ = l
		require.NoError(t, target.raft.Close())
	})
}
