// Package partitiontest lets users test their programs against a store whose disk fails and whose machine crashes when
// they say so, with a clock that they advance, and compare it with a plain model in memory.
//
//	disk := partitiontest.NewDisk()
//	clock := partitiontest.NewClock(time.Unix(1_700_000_000, 0))
//	store, err := partition.Open("store", partition.Config{FS: disk, Clock: clock})
//	...                                        // append; model.Appended(...)
//	disk.Fail(partitiontest.Rule{Op: partitiontest.OpSync, Path: "*.log"})
//	...                                        // the next sync fails
//	after := disk.Crash(1)                     // the disk as found after a power loss now; 1 is a seed
//	store, err = partition.Open("store", partition.Config{FS: after, Clock: clock})
//	err = model.CheckAfterCrash(store)         // all acknowledged records are there, once and in order
//
// It is what partlog's own tests use.
package partitiontest
