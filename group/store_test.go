package group

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/vfs"
	"github.com/partlog/partlog/partition"
)

func TestOffsetsSurviveAReopenOfTheStore(t *testing.T) {
	dir := t.TempDir()
	want := make(map[string]partition.Offset)
	for round := range partition.Offset(3) {
		store, err := partition.Open(dir, partition.Config{})
		require.NoError(t, err)
		if round == 0 {
			createTopics(t, store, "orders")
		}
		for _, id := range []string{"billing", "shipping", "été"} {
			g, err := Open(store, id, Config{})
			require.NoError(t, err)
			committed, err := g.Committed(t.Context())
			require.NoError(t, err)
			if round > 0 {
				require.Equal(t, want[id], committed[tp("orders", 1)].Offset, "%s in round %d", id, round)
			}
			m := newClient(t, g, "orders")
			require.NoError(t, m.enter(t.Context()))
			require.Len(t, m.assigned, 4)
			want[id] = 100*round + partition.Offset(len(id))
			require.NoError(t, m.commit(t.Context(), tp("orders", 1), want[id]))
		}
		require.NoError(t, store.Close())
	}
}

// The disk is really full: what the store's own files say of it reaches the coordinator as it should.
func TestFullDiskOfAStore(t *testing.T) {
	mem := vfs.NewMem()
	manual := clock.NewManual(time.Unix(1.7e9, 0))
	open := func() (*partition.Store, *ConsumerGroup) {
		store, err := partition.Open("/store", partition.Config{FS: mem, Sync: partition.SyncNever})
		require.NoError(t, err)
		g, err := Open(store, "billing", Config{Coordinator: CoordinatorConfig{Clock: manual}})
		require.NoError(t, err)
		return store, g
	}
	store, g := open()
	createTopics(t, store, "orders")
	commit := func(offset partition.Offset) {
		require.NoError(t, g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{tp("orders", 0): {Offset: offset}}))
	}
	commit(1)
	mem.SetFree(0)
	for offset := partition.Offset(2); g.Stats().Unwritten == 0; offset++ {
		require.Less(t, offset, partition.Offset(1e6), "the disk is not full")
		commit(offset)
	}
	commit(5e6)
	require.Equal(t, 1, g.Stats().Unwritten)

	mem.SetFree(1 << 30)
	for g.Stats().Unwritten > 0 {
		manual.Advance(time.Second)
	}
	require.NoError(t, store.Close())
	store, g = open()
	committed, err := g.Committed(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 5e6, committed[tp("orders", 0)].Offset)
	require.NoError(t, store.Close())
}

// A broker's log directory becomes a store, and its groups go on where they are: the broker that wrote the files had one
// partition of the offsets topic, so this store has one too, and not the usual fifty.
func TestGroupsOfABrokerGoOnInAStore(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(filepath.Join(dir, OffsetsTopic+"-0"), os.DirFS("testdata/kafka-4.1.2/__consumer_offsets-0")))
	store := newStore(t, "golden-none")
	_, err := store.Import(t.Context(), dir, partition.ImportOptions{})
	require.NoError(t, err)
	metadata, err := store.Metadata(t.Context(), []string{OffsetsTopic})
	require.NoError(t, err)
	require.Len(t, metadata[0].Partitions, 1)

	b := newBackend(store)
	list, err := List(t.Context(), b, ListGroupsRequest{})
	require.NoError(t, err)
	require.Len(t, list, 3)
	for _, l := range list {
		g, _ := openGroup(t, b, l.Group, Config{})
		committed, err := g.Committed(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, committed, l.Group)
	}
	g, _ := openGroup(t, b, "golden-group", Config{})
	committed, err := g.Committed(t.Context())
	require.NoError(t, err)
	require.Len(t, committed, 2)
	require.EqualValues(t, 200, committed[tp("golden-none", 0)].Offset)
	m := newClient(t, g, "golden-none")
	require.NoError(t, m.enter(t.Context()))
	require.EqualValues(t, 3, m.joined.Generation)
	require.NoError(t, m.commit(t.Context(), tp("golden-none", 0), 201))

	again, _ := openGroup(t, newBackend(store), "golden-group", Config{})
	committed, err = again.Committed(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 201, committed[tp("golden-none", 0)].Offset)
}

// A broker's directory may lack partitions that hold nothing: then the broker's default count is taken, and the groups are
// where it put them.
func TestGroupsOfABrokerWithHolesInTheOffsetsTopicAreFound(t *testing.T) {
	dir := t.TempDir()
	at := tp(OffsetsTopic, PartitionFor("golden-group", OffsetsPartitions))
	require.NoError(t, os.CopyFS(filepath.Join(dir, at.String()), os.DirFS("testdata/kafka-4.1.2/__consumer_offsets-0")))
	store := newStore(t, "golden-none")
	_, err := store.Import(t.Context(), dir, partition.ImportOptions{})
	require.NoError(t, err)
	misplaced := make(chan LoadedInfo, 100)
	g, _ := openGroup(t, store, "golden-group", Config{Coordinator: CoordinatorConfig{Events: Events{Loaded: func(i LoadedInfo) { misplaced <- i }}}})
	committed, err := g.Committed(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 200, committed[tp("golden-none", 0)].Offset)
	require.Equal(t, 2, within(t, misplaced).Misplaced, "the others belong elsewhere, and are told")
}

// Commits are acknowledged as durable as the store's mode says: after a power loss every one of them is there, in
// whatever way the disk has lost the rest; and after a mere kill nobody waits for the members of the dead process.
func TestAcknowledgedCommitsSurvivePowerLossAndKill(t *testing.T) {
	mem := vfs.NewCrashMem(vfs.Ext4Like)
	manual := clock.NewManual(time.Unix(1.7e9, 0))
	open := func(mem *vfs.Mem) (*partition.Store, *ConsumerGroup) {
		store, err := partition.Open("/store", partition.Config{FS: mem})
		require.NoError(t, err)
		g, err := Open(store, "billing", Config{Coordinator: CoordinatorConfig{Clock: manual}})
		require.NoError(t, err)
		return store, g
	}
	store, g := open(mem)
	createTopics(t, store, "orders")
	m := newClient(t, g, "orders")
	require.NoError(t, m.enter(t.Context()))
	rng := rand.New(rand.NewPCG(1, 2))
	for offset := range partition.Offset(10) {
		require.NoError(t, m.commit(t.Context(), tp("orders", int32(offset%2)), offset))
		clones := []*vfs.Mem{mem.KillClone(), mem.CrashClone(rng), mem.CrashClone(rng)}
		for i, clone := range clones {
			again, g := open(clone)
			committed, err := g.Committed(t.Context())
			require.NoError(t, err)
			require.Equal(t, offset, committed[tp("orders", int32(offset%2))].Offset, "clone %d", i)
			n := newClient(t, g, "orders")
			require.NoError(t, n.enter(t.Context()))
			require.Len(t, n.assigned, 4)
			require.NoError(t, again.Close())
		}
	}
	require.NoError(t, store.Close())
}

// A byte of the log is flipped. What was in that place is not believed, and everything else is there.
func TestDamageInTheOffsetsTopicCostsOnlyWhatItHits(t *testing.T) {
	mem := vfs.NewMem()
	open := func() (*partition.Store, *ConsumerGroup) {
		store, err := partition.Open("/store", partition.Config{FS: mem})
		require.NoError(t, err)
		g, err := Open(store, "billing", Config{})
		require.NoError(t, err)
		return store, g
	}
	store, g := open()
	createTopics(t, store, "orders")
	for p := range int32(3) {
		require.NoError(t, g.Commit(t.Context(), map[partition.TopicPartition]CommittedOffset{tp("orders", p): {Offset: partition.Offset(p)}}))
	}
	require.NoError(t, store.Close())
	name := fmt.Sprintf("/store/data/%s-%d/00000000000000000000.log", OffsetsTopic, PartitionFor("billing", OffsetsPartitions))
	f, err := mem.OpenFile(name, os.O_RDWR, 0)
	require.NoError(t, err)
	size, err := f.Size()
	require.NoError(t, err)
	at := size / 2 // in the second of three equal batches
	var b [1]byte
	_, err = f.ReadAt(b[:], at)
	require.NoError(t, err)
	b[0] ^= 0x40
	_, err = f.WriteAt(b[:], at)
	require.NoError(t, err)
	require.NoError(t, f.Close())

	store, g = open()
	committed, err := g.Committed(t.Context())
	require.NoError(t, err)
	require.Len(t, committed, 2)
	require.Contains(t, committed, tp("orders", 0))
	require.Contains(t, committed, tp("orders", 2))
	require.EqualValues(t, 1, g.Stats().CorruptRanges)
	require.NoError(t, store.Close())
}

func TestGroupOfAReadOnlyStoreCanBeLookedAt(t *testing.T) {
	dir := t.TempDir()
	store, err := partition.Open(dir, partition.Config{})
	require.NoError(t, err)
	createTopics(t, store, "orders")
	g, err := Open(store, "billing", Config{})
	require.NoError(t, err)
	offsets := map[partition.TopicPartition]CommittedOffset{tp("orders", 0): {Offset: 5}}
	require.NoError(t, g.Commit(t.Context(), offsets))

	reader, err := partition.OpenReadOnly(dir, partition.Config{})
	require.NoError(t, err)
	look, err := Open(reader, "billing", Config{})
	require.NoError(t, err)
	committed, err := look.Committed(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 5, committed[tp("orders", 0)].Offset)
	require.ErrorIs(t, look.Commit(t.Context(), offsets), partition.ErrReadOnly)
	require.NoError(t, reader.Close())
	require.NoError(t, store.Close())
}
