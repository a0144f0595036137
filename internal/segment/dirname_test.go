package segment

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDirNamesParseToWhatMadeThem(t *testing.T) {
	id := [16]byte{0xab, 1, 2}
	for _, topic := range []string{"orders", "a-b", "a.b-c", "__consumer_offsets", "x-delete", "-", "a-0.x"} {
		live := DirName{Topic: topic, Partition: 7}
		require.Equal(t, topic+"-7", live.String())
		d, err := ParseDirName(live.String())
		require.NoError(t, err)
		require.Equal(t, live, d)
		for _, state := range []DirState{DirDelete, DirStray, DirFuture} {
			with := live.WithState(state, id)
			require.Equal(t, topic+"-7.ab010200000000000000000000000000-"+state.String(), with.String())
			d, err := ParseDirName(with.String())
			require.NoError(t, err)
			require.Equal(t, with, d)
		}
	}
}

func TestNamesOfDeletedDirectoriesAreCutTo255Bytes(t *testing.T) {
	topic := strings.Repeat("t", 249)
	d := DirName{Topic: topic, Partition: 2147483647}
	require.LessOrEqual(t, len(PartitionDirName(topic, 9999)), 255)
	for _, state := range []DirState{DirDelete, DirStray, DirFuture} {
		name := d.WithState(state, [16]byte{9}).String()
		require.Len(t, name, 255)
		parsed, err := ParseDirName(name)
		require.NoError(t, err)
		require.Equal(t, int32(2147483647), parsed.Partition)
		require.True(t, strings.HasPrefix(topic, parsed.Topic))
	}
}

func TestOtherDirNamesAreRefused(t *testing.T) {
	for _, name := range []string{"", "orders", "-", "-0", "orders-", "orders-x", "orders-01", "orders-2147483648",
		"orders-0-delete", "orders-0.-delete", "orders-0.xyz-delete", "orders.0123456789abcdef0123456789abcdef-delete",
		"orders-0.0123456789ABCDEF0123456789abcdef-stray", "remote-log-index-cache", "lost+found"} {
		_, err := ParseDirName(name)
		require.ErrorIs(t, err, ErrDirName, name)
	}
}

func FuzzParseDirName(f *testing.F) {
	f.Add("orders-0")
	f.Add("orders-0.0123456789abcdef0123456789abcdef-delete")
	f.Add("a-b-c-17.0123456789abcdef0123456789abcdef-future")
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDirName(s); err == nil && len(s) <= maxNameLength {
			require.Equal(t, s, d.String())
		}
	})
}
