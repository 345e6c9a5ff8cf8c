# The stress run as one writes it in Elixir: each sale is looked up in an ETS table of exotic cars, and those found there
# are counted in the heap of a process. Says a name and a number a line; the sales come from a file, before the clock.

defmodule Stress do
  @exotic [
    {"Bugatti", ["Chiron", "Veyron"]},
    {"Ferrari", ["488", "F90"]},
    {"Lamborghini", ["Aventador", "Huracan"]},
    {"Pagani", ["Hyuara", "Zonda"]},
    {"Porsche", ["918 Spyder", "911 GT3 RS"]}
  ]

  def run(file) do
    table = :ets.new(:exotic_cars, [:set, :protected, read_concurrency: true])
    for year <- [2022, 2023], {make, models} <- @exotic, do: :ets.insert(table, {{year, make}, models})
    sales = file |> File.stream!() |> Enum.map(&sale/1)

    # An agent, which is asked to count and answers: so each count is made when the next sale is looked at.
    {:ok, agent} = Agent.start_link(fn -> %{} end)
    say("agent", fn ->
      each_exotic(sales, table, fn car -> Agent.update(agent, &count(&1, car)) end)
      Agent.get(agent, & &1)
    end)

    # A process that is told to count: what is still in its mailbox is lost with it, too.
    {:ok, server} = GenServer.start_link(Counter, nil)
    say("cast", fn ->
      each_exotic(sales, table, fn car -> GenServer.cast(server, car) end)
      GenServer.call(server, :counts, :infinity)
    end)
  end

  def count(counts, car), do: Map.update(counts, car, 1, &(&1 + 1))

  defp each_exotic(sales, table, count) do
    Enum.each(sales, fn {year, make, model, _price} ->
      if exotic?(table, year, make, model), do: count.({year, make, model})
    end)
  end

  defp exotic?(table, year, make, model) do
    case :ets.lookup(table, {year, make}) do
      [{_, models}] -> model in models
      [] -> false
    end
  end

  # Copied, so that a sale is not a reference to its whole line.
  defp sale(line) do
    [year, make, model, price] = line |> String.trim_trailing() |> String.split(",") |> Enum.map(&:binary.copy/1)
    {String.to_integer(year), make, model, String.to_integer(price)}
  end

  defp say(name, run) do
    :erlang.garbage_collect()
    {us, counts} = :timer.tc(run)
    IO.puts("#{name} #{us}")
    for {{year, make, model}, count} <- counts, do: IO.puts("#{name}: #{year} #{make} #{model} #{count}")
  end
end

defmodule Counter do
  use GenServer

  def init(_), do: {:ok, %{}}
  def handle_cast(car, counts), do: {:noreply, Stress.count(counts, car)}
  def handle_call(:counts, _from, counts), do: {:reply, counts, counts}
end

[file] = System.argv()
Stress.run(file)
