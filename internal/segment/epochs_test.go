package segment

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/partlog/partlog/internal/vfs"
)

func epochsOf(entries ...EpochStart) *Epochs {
	e := new(Epochs)
	for _, s := range entries {
		e.Assign(s.Epoch, s.Start)
	}
	return e
}

func TestEndOffsetAnswersAsOffsetsForLeaderEpoch(t *testing.T) {
	e := epochsOf(EpochStart{2, 10}, EpochStart{4, 25}, EpochStart{7, 40})
	for _, test := range []struct {
		asked, epoch int32
		offset       int64
	}{
		{-1, NoEpoch, NoOffset}, // undefined stays undefined
		{0, 0, 10},              // below all: itself, and where the log begins
		{2, 2, 25},
		{3, 2, 25}, // unknown in between: the largest below, and its end
		{4, 4, 40},
		{6, 4, 40},
		{7, 7, 99}, // the latest goes to the end of the log
		{8, NoEpoch, NoOffset},
	} {
		epoch, offset := e.EndOffset(test.asked, 99)
		require.Equal(t, test.epoch, epoch, "asked for %d", test.asked)
		require.Equal(t, test.offset, offset, "asked for %d", test.asked)
	}
	epoch, offset := new(Epochs).EndOffset(0, 99)
	require.Equal(t, NoEpoch, epoch)
	require.Equal(t, NoOffset, offset)
}

func TestAssignKeepsWhatIsNotContradicted(t *testing.T) {
	e := epochsOf(EpochStart{2, 10}, EpochStart{4, 25})
	require.False(t, e.Assign(4, 30), "the epoch goes on")
	require.False(t, e.Assign(-1, 30))
	require.True(t, e.Assign(4, 20), "it began earlier")
	require.Equal(t, []EpochStart{{2, 10}, {4, 20}}, e.Entries())
	require.True(t, e.Assign(5, 20), "nothing was appended in 4")
	require.Equal(t, []EpochStart{{2, 10}, {5, 20}}, e.Entries())
	require.True(t, e.Assign(3, 15), "the log was truncated and another leader went on")
	require.Equal(t, []EpochStart{{2, 10}, {3, 15}}, e.Entries())
}

func TestEpochsAreTruncatedAtBothEnds(t *testing.T) {
	all := []EpochStart{{2, 10}, {4, 25}, {7, 40}}
	e := epochsOf(all...)
	require.False(t, e.TruncateFromEnd(41))
	require.True(t, e.TruncateFromEnd(40))
	require.Equal(t, all[:2], e.Entries())
	require.True(t, e.TruncateFromEnd(0))
	require.Zero(t, e.Len())

	e = epochsOf(all...)
	require.False(t, e.TruncateFromStart(9))
	require.False(t, e.TruncateFromStart(10))
	require.True(t, e.TruncateFromStart(24))
	require.Equal(t, []EpochStart{{2, 24}, {4, 25}, {7, 40}}, e.Entries())
	require.True(t, e.TruncateFromStart(25))
	require.Equal(t, []EpochStart{{4, 25}, {7, 40}}, e.Entries())
	require.True(t, e.TruncateFromStart(1000))
	require.Equal(t, []EpochStart{{7, 1000}}, e.Entries())
}

// Against a model that keeps the epoch of every offset.
func TestEpochsAgreeWithTheEpochOfEveryOffset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var e Epochs
		var model []int32 // epoch of each offset from start on
		start := int64(0)
		latest := int32(0)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch rapid.IntRange(0, 4).Draw(t, "step") {
			case 0:
				latest += rapid.Int32Range(1, 3).Draw(t, "rise")
			case 1:
				n := rapid.IntRange(0, len(model)).Draw(t, "keep")
				model = model[:n]
				e.TruncateFromEnd(start + int64(n))
			case 2:
				n := rapid.IntRange(0, len(model)).Draw(t, "drop")
				if n == len(model) {
					continue // an emptied log keeps its last epoch
				}
				model = model[n:]
				start += int64(n)
				e.TruncateFromStart(start)
			default:
				for range rapid.IntRange(1, 5).Draw(t, "append") {
					e.Assign(latest, start+int64(len(model)))
					model = append(model, latest)
				}
			}
			for i, epoch := range model {
				require.Equal(t, epoch, e.At(start+int64(i)))
			}
			for epoch := range latest + 1 {
				if i := slices.Index(model, epoch); i >= 0 {
					n := i
					for n < len(model) && model[n] == epoch {
						n++
					}
					got, end := e.EndOffset(epoch, start+int64(len(model)))
					require.Equal(t, epoch, got)
					require.Equal(t, start+int64(n), end)
				}
			}
			again, err := ParseEpochs(e.AppendTo(nil))
			require.NoError(t, err)
			require.Equal(t, e.AppendTo(nil), again.AppendTo(nil))
		}
	})
}

func TestWrittenEpochsAreRead(t *testing.T) {
	mem := vfs.NewMem()
	require.NoError(t, mem.MkdirAll("d", 0o700))
	e := epochsOf(EpochStart{0, 0}, EpochStart{9, 12345})
	require.NoError(t, e.Write(mem, "d"))
	data, err := vfs.ReadFile(mem, "d/leader-epoch-checkpoint", 1<<20)
	require.NoError(t, err)
	require.Equal(t, "0\n2\n0 0\n9 12345\n", string(data))
	again, err := ReadEpochs(mem, "d")
	require.NoError(t, err)
	require.Equal(t, e.Entries(), again.Entries())
}
