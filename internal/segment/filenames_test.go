package segment

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNamesParseToWhatMadeThem(t *testing.T) {
	for _, base := range []int64{0, 1, 9, 10, 4711, math.MaxInt64} {
		for kind, name := range map[Kind]string{
			KindLog: LogName(base), KindIndex: IndexName(base), KindTimeIndex: TimeIndexName(base),
			KindTxnIndex: TxnIndexName(base), KindSnapshot: SnapshotName(base), KindSum: SumName(base),
		} {
			require.Equal(t, Name{Kind: kind, Base: base}, ParseName(name), name)
			require.Equal(t, byte('.'), name[20])
			for suffix, state := range map[string]State{DeletedSuffix: Deleted, CleanedSuffix: Cleaned, SwapSuffix: Swap, TmpSuffix: Tmp} {
				require.Equal(t, Name{Kind: kind, State: state, Base: base}, ParseName(name+suffix))
				require.Equal(t, KindForeign, ParseName(name+suffix+suffix).Kind)
			}
		}
		require.Equal(t, Name{Kind: KindTorn, Base: base, Position: 65536}, ParseName(TornName(base, 65536)))
	}
	require.Equal(t, "00000000000000000100.log", LogName(100))
	require.Equal(t, "00000000000000000100.log.42.torn", TornName(100, 42))
	require.Equal(t, Name{Kind: KindEpochCheckpoint}, ParseName("leader-epoch-checkpoint"))
	require.Equal(t, Name{Kind: KindEpochCheckpoint, State: Tmp}, ParseName("leader-epoch-checkpoint.tmp"))
	require.Equal(t, Name{Kind: KindPartitionMetadata}, ParseName("partition.metadata"))
	require.Equal(t, Name{Kind: KindDoubt}, ParseName("doubt"))
	require.Equal(t, Name{}, ParseName("doubt.tmp"))
}

func TestOtherNamesAreForeign(t *testing.T) {
	for _, name := range []string{"", ".log", "1.log", "0000000000000000000.log", "000000000000000000000.log", "0000000000000000000a.log",
		"-0000000000000000001.log", "+0000000000000000001.log", "99999999999999999999.log", "00000000000000000000.LOG",
		"00000000000000000000.logs", "00000000000000000000", "00000000000000000000.", "00000000000000000000.log.torn",
		"00000000000000000000.log.-1.torn", "00000000000000000000.log.01.torn", "00000000000000000000.index.1.torn",
		"00000000000000000000.log.1.torn.swap", "leader-epoch-checkpoint.deleted", "partition.metadata.swap", "lost+found"} {
		require.Equal(t, Name{}, ParseName(name), name)
	}
}

func FuzzParseName(f *testing.F) {
	f.Add(LogName(7))
	f.Add(TornName(7, 8))
	f.Add(SnapshotName(7) + DeletedSuffix)
	f.Add(EpochCheckpointName + TmpSuffix)
	f.Fuzz(func(t *testing.T, s string) {
		n := ParseName(s)
		suffix := [...]string{Deleted: DeletedSuffix, Cleaned: CleanedSuffix, Swap: SwapSuffix, Tmp: TmpSuffix}[n.State]
		var name string
		switch n.Kind {
		case KindForeign:
			require.Zero(t, n)
			return
		case KindEpochCheckpoint:
			name = EpochCheckpointName
		case KindPartitionMetadata:
			name = PartitionMetadataName
		case KindTorn:
			name = TornName(n.Base, n.Position)
		default:
			name = segmentName(n.Base, [...]string{KindLog: logSuffix, KindIndex: indexSuffix, KindTimeIndex: timeIndexSuffix,
				KindTxnIndex: txnIndexSuffix, KindSnapshot: snapshotSuffix, KindSum: sumSuffix}[n.Kind])
		}
		require.Equal(t, s, name+suffix)
	})
}
