"""The cases of the kernel's own tests of zswap, zram and userfaultfd, and those that go beyond; and what
shows here that they hold.

A row: its name, and tests by "PROGRAM:FILTER" (GoogleTest), "system:CASE", "sched:SCENARIO", "ctest:LABEL"
(all tests of the sched build that have it); or why there is none. Those of the parts, the model and the
explorer run on the simulated machine, the others on real memory.
"""

UNPROTECTED = "the engine uses no write protection"
SHARED = "private anonymous memory only"
OWN_PROCESS = "the engine lives in the process that it manages, and ends with it"

ROWS = {
    "cgroup/test_zswap": [
        (
            "zswap_usage",
            ["model_swap:SpaceSwap.EverythingCompressedGoesToTheDeviceAndComesBack", "system:cold_hot"],
        ),
        (
            "swapin_nozswap (here the pool is passed through, and nothing rests in it)",
            ["model_groups:SpaceGroups.WithoutRoomInZswapPagesGoOnToADevice", "system:swapin_nozswap"],
        ),
        ("zswapin", ["model_readahead:*", "system:zswapin"]),
        (
            "writeback_enabled, writeback_disabled",
            ["model_groups:SpaceGroups.AZeroAboveKeepsPagesFromDevices", "system:order_writeback"],
        ),
        (
            "writeback, a parent's value",
            ["model_groups:SpaceGroups.AZeroAboveKeepsPagesFromDevices", "system:library_swap"],
        ),
        (
            "no_kmem_bypass: charged to the owner",
            [
                "model_payers:SpacePayers.WhatOthersReclaimIsTheOwnersStill",
                "model_groups:SpaceGroups.ACloneIsPaidForByWhoTouchesIt",
                "system:library_swap",
            ],
        ),
        (
            "no_invasive_cgroup_shrink",
            [
                "model_groups:SpaceGroups.WithoutRoomInZswapPagesGoOnToADevice",
                "system:library_swap",
            ],
        ),
        (
            "zswap_incompressible",
            [
                "unit_zswap:ZswapTest.WhatDoesNotCompressIsKeptRawWhereItMayGoToADevice",
                "system:order_proactive_writeback",
            ],
        ),
        ("proactive_writeback", ["system:order_proactive_writeback"]),
    ],
    "zram": [
        ("zram01: fill, space saved", ["system:space_saved"]),
        ("zram02: swapon, swapoff, reset", ["system:order_swap", "system:swap_ram"]),
        (
            "lib: settings are read back, wrong ones refused",
            ["system:order_settings", "system:order_limit", "system:order_codec"],
        ),
    ],
    "mm/uffd-unit-tests": [
        ("UFFDIO_API", ["unit_os_userfault:UserfaultKernelTest.TheApiIsAskedForOnceAndInItsVersion"]),
        (
            "register-ioctls",
            [
                "unit_os_userfault:UserfaultKernelTest.ARegistrationSaysWhichCallsItAllows",
                "unit_os_userfault:UserfaultTest.RefusesToRegisterWhatIsNotMapped",
            ],
        ),
        (
            "zeropage",
            [
                "unit_os_userfault:UserfaultKernelTest.ASecondZeroPageIsInTheWay",
                "unit_os_userfault:LinuxMmuTest.FillZeroForReadingAndWriting",
            ],
        ),
        (
            "move",
            [
                "unit_os_userfault:UserfaultTest.MovesPagesOutAndBack",
                "unit_os_userfault:LinuxMmuTest.CaptureAndInstallMoveTheBytes",
            ],
        ),
        (
            "move-pmd, move-pmd-split",
            ["unit_os_userfault:UserfaultKernelTest.PagesMoveOutOfAHugePageAndBack"],
        ),
        (
            "wp-fork, wp-fork-with-event, wp-fork-pin, wp-fork-pin-with-event, wp-unpopulated",
            UNPROTECTED,
        ),
        ("minor, minor-wp, minor-collapse", SHARED),
        (
            "sigbus",
            [
                "unit_os_userfault:UserfaultKernelTest.AMissingPageGivesOneSignalAndNoMessage",
                "system:churn_signal",
            ],
        ),
        (
            "events",
            [
                "unit_os_userfault:Userfault.TellsOfLayoutChanges",
                "unit_os_userfault:LinuxMmuTest.UnmapAndRemapAreTold",
                "model_linux:SpaceLinux.AForkedChildHasTheWholeContent",
                "model_linux:SpaceLinux.MovedPagesAreFoundWhereTheyAreNow",
                "model_linux:SpaceLinux.DroppedPagesReadZeroAndKeepWhatIsWrittenAfter",
            ],
        ),
        ("sigbus-wp, events-wp", UNPROTECTED),
        ("poison", ["unit_os_userfault:UserfaultKernelTest.EveryOtherPageIsPoisoned"]),
        (
            "mmap-changing: MOVE, COPY, ZEROPAGE, POISON",
            ["unit_os_userfault:LinuxMmuTest.NothingMovesWhileALayoutMessageWaits"],
        ),
    ],
    "beyond": [
        (
            "1 content, tier by tier",
            [
                "model_swap:SpaceSwap.EverythingCompressedGoesToTheDeviceAndComesBack",
                "model_linux:SpaceLinux.PagesComeBackAsTheyWere",
                "system:swap_churn",
            ],
        ),
        (
            "2 a schedule for each race of the mails",
            [
                "sched:writeback_against_reuse",
                "sched:compaction_against_read",
                "sched:two_loads",
                "sched:two_faults_on_one_slot",
                "sched:load_against_reuse",
            ],
        ),
        ("2 and of section 3, each with its fix switched off (docs/races.md)", ["ctest:sched"]),
        (
            "3 the accounts close",
            [
                "model_space:SpaceModel.ReadsWhatTheReferenceSaysWhateverHappens",
                "system:ends_in_every_tier",
            ],
        ),
        (
            "4 hysteresis (the pool refuses nothing: writeback goes on until the accept threshold)",
            ["model_swap:SpaceSwap.WritebackHasHysteresis", "system:order_accept_threshold"],
        ),
        ("5 second chance", ["unit_zswap:ZswapTest.VictimsComeOldestFirstAndGoRound"]),
        (
            "5 the sizing formula of the shrinker",
            [
                "model_swap:SpaceSwap.TheShrinkersShareIsTheKernelsFormula",
                "model_swap:SpaceSwap.TheShrinkerTakesLessWhenItTookTooMuch",
                "model_swap:SpaceSwap.TheShrinkerWorksWhileThePoolIsNotFull",
            ],
        ),
        ("5 the stop rule", "a pass of writeback looks at each object once at most (vm/writeback.cc)"),
        (
            "6 faults injected",
            [
                "model_failures:*",
                "sched:failing_moves",
                "sched:failing_device",
                "sched:lying_device",
                "sched:failing_memory",
                "model_linux_failures:*",
                "unit_os_faults:*",
                "system:corrupted_pool",
            ],
        ),
        (
            "7 swapoff",
            [
                "system:order_swapoff_under_load",
                "system:order_swapoff_interrupted",
                "model_swap:SpaceSwap.ASwapoffThatIsGivenUpLeavesTheDeviceInUse",
                "model_swap:SpaceSwap.SwapoffRefusesWhatDoesNotFitAndLeavesTheDeviceInUse",
            ],
        ),
        ("8 many sharers of a slot", ["model_clone:SpaceClone.MoreThanASlotCounts"]),
        ("8 storms of forks", ["system:fork_storm", "system:fork_storm_device", "system:swap_fork_tree"]),
        ("9 pins: vmsplice, registered buffers of io_uring", ["system:kernel_io"]),
        ("10 death of the manager", OWN_PROCESS),
        (
            "10 ends of processes",
            [
                "system:ends_in_every_tier",
                "system:exec_keeps_limit",
                "system:death_by_signal",
                "system:early_child",
            ],
        ),
    ],
}
