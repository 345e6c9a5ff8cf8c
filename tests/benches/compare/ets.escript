#!/usr/bin/env escript
%% One turn of an ETS table: it is filled, read, overwritten, scanned and emptied, and another one counts.
%%
%% Keys come from a file for each step, eight bytes each, and are in a list before the clock starts; so are the values to be
%% written, which are made as the other subjects make theirs. Says a name and a number a line.
-mode(compile).

main([Type | Steps]) ->
    %% A heap that is large from the start, so that the garbage collector has little to do with the lists.
    {_, Monitor} = spawn_opt(fun() -> turn(list_to_atom(Type), Steps) end,
                             [monitor, {min_heap_size, 16#4000000}]),
    receive
        {'DOWN', Monitor, process, _, normal} -> ok;
        {'DOWN', Monitor, process, _, Reason} -> io:format("~p~n", [Reason]), halt(1)
    end.

turn(Type, [Insert, InsertStamp, Get, _, Overwrite, OverwriteStamp, Remove, _, Count, _]) ->
    Table = ets:new(table, [Type, protected]),
    Inserted = entries(Insert, InsertStamp),
    say(insert_total_ns, time(fun() -> insert(Table, Inserted) end)),
    say(total_bytes, ets:info(Table, memory) * erlang:system_info(wordsize)),
    say(inserted_sum, sum(Table)),
    Read = keys(Get),
    say(get_total_ns, time(fun() -> get(Table, Read, 0) end)),
    Overwritten = entries(Overwrite, OverwriteStamp),
    say(overwrite_total_ns, time(fun() -> insert(Table, Overwritten) end)),
    say(overwritten_sum, sum(Table)),
    say(scan_total_ns, time(fun() -> ets:foldl(fun({_, Value}, Sum) -> add(Value, Sum) end, 0, Table) end)),
    Removed = keys(Remove),
    say(remove_total_ns, time(fun() -> remove(Table, Removed) end)),
    0 = ets:info(Table, size),
    Counters = ets:new(counters, [Type, protected]),
    Counted = keys(Count),
    count(Counters, keys(Insert)),
    say(count_total_ns, time(fun() -> count(Counters, Counted) end)).

insert(_, []) -> ok;
insert(Table, [Entry | Entries]) -> ets:insert(Table, Entry), insert(Table, Entries).

get(_, [], Sum) -> Sum;
get(Table, [Key | Keys], Sum) -> [{_, Value}] = ets:lookup(Table, Key), get(Table, Keys, add(Value, Sum)).

remove(_, []) -> ok;
remove(Table, [Key | Keys]) -> ets:delete(Table, Key), remove(Table, Keys).

count(_, []) -> ok;
count(Table, [Key | Keys]) -> ets:update_counter(Table, Key, 1, {Key, 0}), count(Table, Keys).

%% The table copies all of a value out. Whole words are no small numbers to Erlang, and adding them up is no work of the
%% table's: so only a part of one is looked at.
add(<<Part:32/little, _/binary>>, Sum) -> Sum + Part.

%% What the words of all values add up to, in 64 bits, as the others add them up.
sum(Table) ->
    Add = fun({_, Value}, Sum) -> lists:sum([Word || <<Word:64/little>> <= Value]) + Sum end,
    ets:foldl(Add, 0, Table) band 16#ffffffffffffffff.

keys(File) ->
    {ok, Bytes} = file:read_file(File),
    [binary:copy(Key) || <<Key:8/binary>> <= Bytes].

entries(File, Stamp) ->
    First = list_to_integer(Stamp),
    [{Key, value(Key, First)} || Key <- keys(File)].

%% Copied, so that it lies on the heap and in the table itself, and is not a reference to a binary elsewhere.
value(<<Key:64/big>>, First) ->
    binary:copy(<< <<(Key + First + Index):64/little>> || Index <- lists:seq(0, 7) >>).

%% What other programs take of the processors counts neither here nor for the others: where the virtual machine has used
%% less of them than the clock on the wall says, that counts, unless it is too short for a count of milliseconds.
time(Fun) ->
    garbage_collect(),
    {Before, _} = statistics(runtime),
    Start = erlang:monotonic_time(nanosecond),
    Fun(),
    Wall = erlang:monotonic_time(nanosecond) - Start,
    {After, _} = statistics(runtime),
    case (After - Before) * 1000000 of
        Used when Used >= 20000000, Used < Wall -> Used;
        _ -> Wall
    end.

say(Name, Number) -> io:format("~s ~b~n", [Name, Number]).
