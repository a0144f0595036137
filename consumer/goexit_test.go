package consumer_test

import "runtime"

func goexit() { runtime.Goexit() }
